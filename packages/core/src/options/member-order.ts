/**
 * The order in which QEMU writes the members of an object. It keeps them in a table of 512 rows and writes row by row,
 * what came last into a row first. The row of a name is that of gdbm's hash: tests hold this to what QEMU's programs print.
 */

const rows = 512

/** `members`, which stand in the order in which they were set, in the order of QEMU's output. */
export function inQemuOrder<T>(members: readonly (readonly [string, T])[]): (readonly [string, T])[] {
  const placed = members.map((member, i) => ({ member, row: rowOf(member[0]), i }))
  placed.sort((a, b) => a.row - b.row || b.i - a.i)
  return placed.map(({ member }) => member)
}

function rowOf(name: string): number {
  const bytes = new TextEncoder().encode(name)
  let value = Math.imul(0x238f13af, bytes.length)
  for (let i = 0; i < bytes.length; i++) value = (value + ((bytes[i] as number) << ((i * 5) % 24))) | 0
  return ((Math.imul(1103515243, value) + 12345) >>> 0) % rows
}
