/** The program `dg-storage-daemon`. */
import { parseCommandLine } from './command-line.ts'
import { messageOf } from './failure.ts'
import { helpText } from './help.ts'
import { compatibleVersion, version } from './version.ts'

const program = 'dg-storage-daemon'

try {
  const options = parseCommandLine(process.argv.slice(2))
  const first = options.find(({ name }) => name === 'help' || name === 'version')
  if (first?.name === 'help') process.stdout.write(helpText(program))
  else if (first?.name === 'version') {
    process.stdout.write(`${program} version ${compatibleVersion} (diskgraph ${version})\n`)
  } else if (options.some(({ name }) => name === 'daemonize')) {
    const { daemonize } = await import('./daemonize.ts')
    process.exitCode = await daemonize(process.argv.slice(2))
  } else {
    const { run } = await import('./run.ts')
    await run(options, program)
  }
} catch (error) {
  process.stderr.write(`${program}: ${messageOf(error)}\n`)
  process.exit(1)
}
