/** Hints in the words of the command line that was typed, where an error of the block layer speaks of the library. */
import { CommandError, hintOf, messageOf, type Terminal, UsageError } from '@diskgraph/tools'
import { isInstalled } from '../driver-packages.ts'
import { drivers } from '../driver-table.ts'
import { formatAliases } from '../drivers.ts'
import { nearest } from './nearest.ts'

/** `error` with what to do about it, where that is known. `words` are those of the command line, its command first. */
export function withAdvice(error: unknown, words: readonly string[], terminal: Terminal): unknown {
  if (!(error instanceof Error) || error instanceof UsageError) return error
  const message = saidOnce(messageOf(error))
  const advice = adviceFor(error, words, terminal)
  if (advice === undefined && message === messageOf(error)) return error
  const hint = advice ?? hintOf(error)
  const exitCode = error instanceof CommandError ? error.exitCode : 1
  return new CommandError(message, { cause: error, exitCode, ...(hint === undefined ? {} : { hint }) })
}

/** `Could not open 'a': Could not open 'a': …`, which QEMU's tools say, without the repetition. */
function saidOnce(message: string): string {
  return message.replace(/(Could not open '[^']*': )(?=\1)/g, '')
}

function adviceFor(error: Error, words: readonly string[], terminal: Terminal): string | undefined {
  const message = messageOf(error)
  const [, unknown] = /Unknown (?:driver|file format|protocol) '([^']*)'/.exec(message) ?? []
  if (unknown === 'nbds') {
    return 'TLS is an option: --object tls-creds-x509,id=ID,dir=FOLDER,endpoint=client --image-opts driver=nbd,host=HOST,export=EXPORT,tls-creds=ID'
  }
  if (unknown !== undefined) return forUnknown(unknown, words, terminal)
  const [, foreign] = /has the signature of format '([^']*)', whose driver is missing/.exec(message) ?? []
  if (foreign !== undefined) return forForeign(foreign, words, terminal)
  if (message.endsWith('Image creation needs a size parameter')) {
    return `a size stands behind the name: ${line([...words, '10G'], terminal)}`
  }
  if (message.endsWith('Backing file specified without backing format')) {
    const format = /^Detected format of (.*)\.$/.exec(hintOf(error) ?? '')?.[1] ?? 'FORMAT'
    const [command = '', ...others] = words
    return `say it with -F: ${line([command, '-F', format, ...others], terminal)}`
  }
  if (message.endsWith('Cannot amend the backing file')) return `'${terminal.program} rebase' changes it`
  if (message.endsWith('No valid URL specified')) {
    return 'exports are named nbd://HOST[:PORT]/EXPORT and nbd+unix:///EXPORT?socket=PATH'
  }
  if (message.endsWith('Requested export not available')) {
    return `${hintOf(error) ?? 'the server has none of that name'}; 'dg-nbd --list' tells of those that there are`
  }
  const [, missing] = /Parameter '((?:encrypt\.)?key-secret)' is required/.exec(message) ?? []
  if (missing !== undefined) return forSecret(missing)
  return inOwnWords(hintOf(error), terminal)
}

/** Where the password of an encrypted image comes from; `option` is what names it. */
function forSecret(option: string): string {
  const format = option === 'key-secret' ? 'luks' : 'FORMAT'
  return `its password comes from a file: --object secret,id=ID,file=PASSWORD --image-opts driver=${format},${option}=ID,file.filename=IMAGE; for a new image -o ${option}=ID names it`
}

/** A hint that names commands of QEMU, with those of this program; undefined for one that names none. */
function inOwnWords(hint: string | undefined, { program }: Terminal): string | undefined {
  if (hint?.includes('block-dirty-bitmap-remove')) return `'${program} bitmap --remove FILE BITMAP' deletes it`
  return hint?.includes('qemu-img ') ? hint.replaceAll('qemu-img ', `${program} `) : undefined
}

function forUnknown(name: string, words: readonly string[], terminal: Terminal): string {
  if (isInstalled(name)) return enabling(name, words, terminal)
  const near = nearest(name, [...drivers.map((driver) => driver.name), ...Object.keys(formatAliases)])
  if (near !== undefined) return `did you mean '${near}'?`
  return `'${terminal.program} drivers' lists those that are there; one of somebody else is enabled in front of the command: ${line(['--driver', 'DRIVER', ...words], terminal)}`
}

function forForeign(format: string, words: readonly string[], terminal: Terminal): string {
  if (isInstalled(format)) return enabling(format, words, terminal)
  const [command = '', ...others] = words
  const asRaw = line([command, '-f', 'raw', ...others], terminal)
  // Like QEMU, nobody takes it for one by itself.
  if (format === 'luks2') return `'luks' opens it where it is asked for, with -f luks; for raw data: ${asRaw}`
  return `enable a driver for it with --driver, or say that raw data is meant: ${asRaw}`
}

/** What to type where a driver is installed and not enabled. */
export function enabling(name: string, words: readonly string[], terminal: Terminal): string {
  return `the driver '${name}' is installed, but not enabled: ${line(['--driver', name, ...words], terminal)}`
}

function line(words: readonly string[], { program }: Terminal): string {
  return typedLine([program, ...words])
}

/** Words as a line that can be typed in a shell. */
export function typedLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w./=+:,@%-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}
