/** The disks that the server has, by name. */

/** What `/disk/pattern` reads as; the server makes it by the same function. */
export function patternOf(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255)
}

/** Size of `/disk/pattern`. */
export const patternSize = 1_000_000

/** Size of `/disk/conformance`: that which the conformance suite asks for. */
export const conformanceSize = 2 ** 20 + 3 * 512

/** Guest bytes of `/disk/compressed.qcow2`. */
export const guestSize = 2 ** 20

/** The URL of a disk of this page's server. */
export function diskUrl(name: string, query = ''): string {
  return `${location.origin}/disk/${name}${query}`
}

/** Where two runs of bytes differ first; -1 if they are the same. Quick, for long ones. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length)
  return a.findIndex((byte, i) => byte !== b[i])
}
