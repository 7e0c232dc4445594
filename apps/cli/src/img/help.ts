/** `--help` of `dg-img`. */
import { drivers } from '../driver-table.ts'
import type { Terminal } from '../terminal.ts'
import { compatibleVersion, versionLine } from '../version.ts'

const image = '[--object DEF] [--image-opts] [-f FORMAT]'

/** Command lines, each in QEMU's grammar. */
const commandLines: readonly string[] = [
  `amend ${image} [-t CACHE] [-p] [-q] [--force] -o OPTIONS FILE`,
  `bench ${image} [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] [-o OFFSET] [-w] [--pattern=BYTE] [--flush-interval=N] [--no-drain] [-i AIO] [-n] [-t CACHE] [-q] [-U] FILE`,
  `bitmap ${image} (--add | --remove | --clear | --enable | --disable | --merge SOURCE)... [-b FILE [-F FORMAT]] [-g SIZE] FILE BITMAP`,
  `check ${image} [-r leaks|all] [-T CACHE] [--output=human|json] [-q] [-U] FILE`,
  `commit ${image} [-t CACHE] [-b BASE] [-r RATE] [-d] [-p] [-q] FILE`,
  `compare ${image} [-F FORMAT] [-T CACHE] [-s] [-p] [-q] [-U] FILE FILE`,
  `convert ${image} [--target-image-opts] [--target-is-zero] [--bitmaps] [-O FORMAT] [-o OPTIONS] [-B FILE [-F FORMAT]] [-l SNAPSHOT] [-S SIZE] [-m COUNT] [-W] [-r RATE] [-c] [-C] [-n] [--salvage] [-t CACHE] [-T CACHE] [-p] [-q] [-U] FILE... TARGET`,
  'create [--object DEF] [-f FORMAT] [-b FILE [-F FORMAT]] [-u] [-o OPTIONS] [-q] FILE [SIZE]',
  'dd [--image-opts] [-f FORMAT] [-O FORMAT] [-U] [bs=SIZE] [count=N] [skip=N] if=FILE of=FILE',
  `info ${image} [--backing-chain] [--output=human|json] [-U] FILE`,
  `map ${image} [-s OFFSET] [-l LENGTH] [--output=human|json] [-U] FILE`,
  `measure [-O FORMAT] [-o OPTIONS] [--output=human|json] (--size SIZE | ${image} [-l SNAPSHOT] [-U] FILE)`,
  `rebase ${image} [-t CACHE] [-T CACHE] [-u] [-p] [-q] [-U] -b FILE [-F FORMAT] FILE`,
  `resize ${image} [--preallocation=MODE] [--shrink] [-q] FILE [+|-]SIZE`,
  `snapshot ${image} [-l | -c NAME | -a NAME | -d NAME] [-q] [-U] FILE`,
]

/** Prints what the program can do. */
export function printHelp(terminal: Terminal): void {
  terminal.out(`${versionLine(terminal.program)}usage: ${terminal.program} [-h | --help] [-V | --version] [--driver NAME|PATH]... COMMAND [OPTIONS]

Command lines and output are those of QEMU's image tool, version ${compatibleVersion}.

Commands:
${commandLines.map((line) => `  ${line}\n`).join('')}
Words in these lines:
  FILE      a path, a name such as json:{...} or http://...; with --image-opts a list driver=qcow2,file.filename=a.img
  FORMAT    the format of an image; without one it is guessed, which is not safe for raw images
  SIZE      bytes, or with one of the suffixes k M G T P E (powers of 1024)
  OPTIONS   a list name=value,name=value; '-o help' shows what a format has
  CACHE     none, writeback, writethrough, directsync or unsafe
  DEF       an object: secret,id=NAME,file=FILE or secret,id=NAME,data=TEXT
  SNAPSHOT  an id or a name, or snapshot.id=ID,snapshot.name=NAME
  --driver  enables a driver besides those of the tool: a package installed beside it, or a path
  -p shows progress, -q prints errors only, -U opens an image that others use

Supported formats: ${drivers
    .map(({ name }) => name)
    .sort()
    .join(' ')}
`)
}
