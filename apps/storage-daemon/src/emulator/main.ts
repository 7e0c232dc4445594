/** The program `dg-emulator`. */
import { basename } from 'node:path'
import { compatibleVersion, version } from '../version.ts'
import { parseEmulatorLine } from './command-line.ts'
import { showEnd } from './terminal.ts'

const program = basename(process.argv[1] ?? 'dg-emulator').replace(/\.[cm]?js$/, '')

try {
  const words = process.argv.slice(2)
  const options = parseEmulatorLine(words)
  const asksHelp = options.find(
    ({ name, value }) =>
      name === 'help' ||
      name === 'h' ||
      value === 'help' ||
      value.startsWith('help,') ||
      (['object', 'chardev', 'add-fd', 'blockdev', 'device'].includes(name) && value.endsWith(',help')),
  )
  if (options.some(({ name }) => name === 'version')) {
    process.stdout.write(`QEMU emulator version ${compatibleVersion} (${program} ${version})\n`)
  } else if (
    asksHelp !== undefined ||
    options.some(({ name, value }) => name === 'drive' && /format=help\b/.test(value))
  ) {
    const { helpText } = await import('./help.ts')
    process.stdout.write(await helpText(program, asksHelp?.name ?? 'drive', asksHelp?.value ?? ''))
  } else if (words.some((word) => /^--?daemonize$/.test(word))) {
    const { daemonize } = await import('../daemonize.ts')
    process.exitCode = await daemonize(words.filter((word) => word !== '-daemonize'))
  } else {
    const { Emulator } = await import('./emulator.ts')
    const emulator = new Emulator(options, program)
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => emulator.stop())
    try {
      await emulator.start()
      process.send?.('ready')
    } catch (error) {
      showEnd(program, error)
      await emulator.end()
      process.exit(1)
    }
  }
} catch (error) {
  showEnd(program, error)
  process.exit(1)
}
