/** The program `dg-storage-daemon`. */
import { type GivenOption, parseCommandLine } from './command-line.ts'
import { hintLine, messageOf } from './failure.ts'
import { helpText } from './help.ts'
import { compatibleVersion, version } from './version.ts'

const program = 'dg-storage-daemon'

try {
  const options = parseCommandLine(process.argv.slice(2))
  const asksHelp = options.some(({ value }) => /(?:^|,)(?:help|\?)(?:,|$)/.test(value))
  const help = asksHelp ? await (await import('./option-help.ts')).optionHelp(options) : undefined
  const first = options.find(({ name }) => name === 'help' || name === 'version')
  if (first?.name === 'help') process.stdout.write(helpText(program))
  else if (first?.name === 'version') {
    process.stdout.write(`${program} version ${compatibleVersion} (diskgraph ${version})\n`)
  } else if (help !== undefined) process.stdout.write(help)
  else if (options.some(({ name }) => name === 'daemonize')) {
    const { daemonize } = await import('./daemonize.ts')
    process.exitCode = await daemonize(process.argv.slice(2))
  } else {
    const { run } = await import('./run.ts')
    const demo = options.find(({ name }) => name === 'demo')
    if (demo === undefined) await run(options, program)
    else {
      const { prepareDemo, demoGuide, mustBeFree } = await import('./demo/demo.ts')
      const all = withConsole(options)
      // Nothing is written for a demonstration that cannot begin.
      await mustBeFree(Number(all.findLast(({ name }) => name === 'console')?.value))
      await run([...(await prepareDemo(demo.value)), ...all], program)
      process.stdout.write(demoGuide(demo.value))
    }
  }
} catch (error) {
  process.stderr.write(`${program}: ${messageOf(error)}\n${hintLine(error)}`)
  process.exit(1)
}

/** `options` with a console, at 8040 where nothing else is said. */
function withConsole(options: readonly GivenOption[]): readonly GivenOption[] {
  const has = options.some(({ name }) => name === 'console')
  return has ? options : [...options, { name: 'console', value: '8040' }]
}
