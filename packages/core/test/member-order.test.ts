import { inQemuOrder } from '@diskgraph/core/internal'
import { expect, it } from 'vitest'

// As qemu-img and qemu-system-x86_64 7.2 print them.
const printed = [
  'iops_rd detect_zeroes image iops_wr ro node-name backing_file_depth drv iops bps_wr write_threshold encrypted bps bps_rd cache file',
  'virtual-size filename cluster-size format actual-size format-specific dirty-flag',
  'read-zeroes driver',
  'io-status device locked removable inserted qdev tray_open type',
  'unmap_operations unmap_merged flush_total_time_ns wr_highest_offset wr_total_time_ns wr_merged wr_bytes timed_stats',
]

it.each(printed)('members have the order of QEMU: %s', (line) => {
  const names = line.split(' ')
  const members = [...names].sort().map((name, i) => [name, i] as const)
  expect(inQemuOrder(members).map(([name]) => name)).toEqual(names)
})

it('of members in one row the last one comes first', () => {
  const members = [
    ['failed_rd_operations', 1],
    ['failed_wr_operations', 2],
  ] as const
  expect(inQemuOrder(members)).toEqual([members[1], members[0]])
  expect(inQemuOrder([members[1], members[0]])).toEqual([members[0], members[1]])
})
