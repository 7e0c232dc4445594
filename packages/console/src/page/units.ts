/** Numbers as people read them. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `1.5 GiB`. */
export function size(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `12.3 MiB/s`. */
export function rate(bytesPerSecond: number): string {
  return `${size(Math.round(bytesPerSecond))}/s`
}

/** `42 %`; of nothing all is done. */
export function percent(done: number, total: number): string {
  return `${total === 0 ? 100 : Math.floor((100 * done) / total)} %`
}

/** `12:34:56.789`, in UTC, of the time of an event. */
export function timeOf({ seconds, microseconds }: { readonly seconds: number; readonly microseconds: number }): string {
  return new Date(seconds * 1000 + microseconds / 1000).toISOString().slice(11, 23)
}
