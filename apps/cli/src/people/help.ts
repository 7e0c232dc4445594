/** `--help` of `diskgraph`. */
import type { Terminal } from '../terminal.ts'
import { version } from '../version.ts'
import { styleFor } from './style.ts'

const sections: readonly (readonly [title: string, lines: readonly (readonly [command: string, what: string])[]])[] = [
  [
    'Look',
    [
      ['info FILE', 'size, format, backing file, snapshots'],
      ['tree FILE', 'the backing chain as a drawing'],
      ['map FILE', 'where the data stands'],
      ['check FILE [-r leaks|all]', 'look for damage, repair it'],
      ['compare FILE FILE', 'whether two images have the same content'],
      ['measure --size SIZE -O FORMAT', 'how large an image would be'],
      ['inspect --untrusted FILE', 'whether an image from elsewhere may be opened'],
    ],
  ],
  [
    'Make and change',
    [
      ['create -f FORMAT FILE SIZE', 'a new image; -b BASE -F FORMAT for an overlay'],
      ['convert -O FORMAT FILE TARGET', 'another format; -c compresses; - is stdin or stdout'],
      ['resize FILE [+|-]SIZE', 'grow, or with --shrink shrink'],
      ['snapshot -c|-a|-d NAME FILE', 'take, apply, delete a snapshot; -l lists'],
      ['commit FILE', 'write an overlay into its base'],
      ['rebase -b BASE -F FORMAT FILE', 'another backing file'],
      ['amend -o OPTIONS FILE', "change an image's options"],
      ['dd if=FILE of=FILE', 'copy blocks'],
    ],
  ],
  [
    'Other',
    [
      ['bench FILE', 'measure requests'],
      ['drivers [--json]', 'what there is, and what it can do'],
      ['tour', 'all of this on files in a temporary folder'],
    ],
  ],
]

/** Prints the commands. */
export function printHelp(terminal: Terminal): void {
  const style = styleFor(terminal)
  const text = sections.map(([title, lines]) => {
    const rows = lines.map(([command, what]) => `  ${command.padEnd(32)} ${style.dim(what)}\n`)
    return `${style.bold(title)}\n${rows.join('')}\n`
  })
  terminal.out(`${style.bold('diskgraph')} ${version}: disk images
usage: ${terminal.program} [--driver NAME|PATH]... COMMAND [OPTIONS]

${text.join('')}Options are those of QEMU's image tool; 'dg-img --help' lists them all. Everywhere:
  --progress=auto|json|none        a bar on a terminal, JSON lines on standard error, nothing
  --no-color                       as the variable NO_COLOR does
  -f, -F, -O                       formats; vhd, img and hdd mean vpc, raw and parallels
  --driver NAME|PATH               before the command: a driver of someone else, see the README
`)
}
