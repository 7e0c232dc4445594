/** The events of BlkdebugEvent, as QEMU 7.2 spells them. Older spellings with a dot (`l2_alloc.write`) mean the same. */
export const blkdebugEvents = [
  'l1_update',
  'l1_grow_alloc_table',
  'l1_grow_write_table',
  'l1_grow_activate_table',
  'l2_load',
  'l2_update',
  'l2_update_compressed',
  'l2_alloc_cow_read',
  'l2_alloc_write',
  'read_aio',
  'read_backing_aio',
  'read_compressed',
  'write_aio',
  'write_compressed',
  'vmstate_load',
  'vmstate_save',
  'cow_read',
  'cow_write',
  'reftable_load',
  'reftable_grow',
  'reftable_update',
  'refblock_load',
  'refblock_update',
  'refblock_update_part',
  'refblock_alloc',
  'refblock_alloc_hookup',
  'refblock_alloc_write',
  'refblock_alloc_write_blocks',
  'refblock_alloc_write_table',
  'refblock_alloc_switch_table',
  'cluster_alloc',
  'cluster_alloc_bytes',
  'cluster_free',
  'flush_to_os',
  'flush_to_disk',
  'pwritev_rmw_head',
  'pwritev_rmw_after_head',
  'pwritev_rmw_tail',
  'pwritev_rmw_after_tail',
  'pwritev',
  'pwritev_zero',
  'pwritev_done',
  'empty_image_prepare',
  'l1_shrink_write_table',
  'l1_shrink_free_l2_clusters',
  'cor_write',
  'cluster_alloc_space',
  'none',
] as const

/** The spellings of the schema of QEMU 2.1 that later versions changed. */
export const dottedEvents = [
  'l1_grow.alloc_table',
  'l1_grow.write_table',
  'l1_grow.activate_table',
  'l2_alloc.cow_read',
  'l2_alloc.write',
  'refblock_alloc.hookup',
  'refblock_alloc.write',
  'refblock_alloc.write_blocks',
  'refblock_alloc.write_table',
  'refblock_alloc.switch_table',
] as const

/** Name of an event that a rule waits for; `none` happens once, when the node is opened. */
export type BlkdebugEvent = (typeof blkdebugEvents)[number] | (typeof dottedEvents)[number]

const spellings: ReadonlyMap<string, string> = new Map([
  ...blkdebugEvents.map((event) => [event, event] as const),
  ...dottedEvents.map((event) => [event, event.replace('.', '_')] as const),
])

/** The one spelling of an event; undefined if there is no such event. */
export function canonicalEvent(event: string): string | undefined {
  return spellings.get(event)
}
