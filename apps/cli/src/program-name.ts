import { basename } from 'node:path'

/** The name of a program by the path it was called by: `dg-img` for `/usr/bin/dg-img` and `bin/dg-img.js`. */
export function programName(calledBy: string): string {
  return basename(calledBy).replace(/\.[cm]?js$/, '')
}
