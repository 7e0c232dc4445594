import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peer } from '@diskgraph/driver-testkit'
import type { Terminal } from '@diskgraph/tools'
import { afterEach, beforeEach, describe, expect, it, test, vi } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { type Program, runProgram } from '../src/main.ts'
import { completionScript } from '../src/manual/completion.ts'
import { optionsOf, optionText } from '../src/manual/help.ts'
import { manPage } from '../src/manual/man-page.ts'
import { runNbd } from '../src/nbd/main.ts'
import { programs, runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'
import { splitWords } from './differential.ts'

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'manual-'))
  process.chdir(folder)
  vi.stubEnv('XDG_CONFIG_HOME', join(folder, 'config'))
})

afterEach(() => {
  process.chdir(before)
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

const runners: Readonly<Record<string, Program>> = {
  diskgraph: runDiskgraph,
  'dg-img': runImg,
  'dg-io': runIo,
  'dg-nbd': runUntilServing,
}

/** Runs `dg-nbd` until clients can connect to its socket, which is made in the folder of the test. */
async function runUntilServing(words: readonly string[], terminal: Terminal): Promise<number> {
  const placed = words.map((word) => word.replace(/^\/tmp\//, `${process.cwd()}/`))
  const socket = placed[placed.indexOf('-k') + 1]
  const abort = new AbortController()
  const result = runNbd(placed, { ...terminal, signal: abort.signal })
  let ended = false
  const end = (): void => {
    ended = true
  }
  void result.then(end, end)
  while (socket !== undefined && !ended && !existsSync(socket)) await new Promise((resolve) => setImmediate(resolve))
  abort.abort()
  return result
}

async function run(program: string, words: readonly string[]) {
  const terminal = capturedTerminal(program, { forPeople: program === 'diskgraph' })
  const code = await runProgram(runners[program] as Program, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

const everyCommand = programs.flatMap((program) =>
  Object.entries(program.commands).map(([name, command]) => [program.name, name, program, command] as const),
)

describe('help', () => {
  test.each(everyCommand)(
    'of %s %s names every option, whatever stands around it',
    async (_, name, program, command) => {
      const { code, stdout, stderr } = await run(program.name, [name, 'x', '--help'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      for (const option of optionsOf(program, command)) expect(stdout).toContain(`${optionText(option)} `)
      for (const [line] of command.examples) expect(stdout).toContain(`${program.name} ${line}`)
    },
  )

  test.each(programs)('of $name names its commands and options', async (program) => {
    const { code, stdout } = await run(program.name, ['--help'])
    expect(code).toBe(0)
    for (const name of Object.keys(program.commands)) expect(stdout).toMatch(new RegExp(`^  ${name}( |$)`, 'm'))
    for (const option of Object.values(program.options)) expect(stdout).toContain(optionText(option))
  })

  test('of dg-img ends with the formats, in front of a command and behind it', async () => {
    const formats = /\nSupported formats: .*\bqcow2\b.*\braw\b.*\n$/
    expect((await run('dg-img', ['-h'])).stdout).toMatch(formats)
    expect((await run('dg-img', ['create', '-h'])).stdout).toMatch(formats)
  })

  test('comes by `help COMMAND`, too, and a wrong name is told', async () => {
    expect(await run('diskgraph', ['help', 'info'])).toEqual(await run('diskgraph', ['info', '--help']))
    expect((await run('diskgraph', ['help', 'ifno'])).stderr).toContain("hint: did you mean 'info'?")
  })

  test('is not asked for by the value of an option, or behind --', async () => {
    expect((await run('dg-img', ['info', '-f', '--help', 'x'])).stderr).toContain("'x'")
    expect((await run('dg-img', ['info', '--', '--help'])).stderr).toContain("Could not open '--help'")
  })

  test.each(['diskgraph', 'dg-img', 'dg-io'])('and version of %s need no sound configuration', async (program) => {
    mkdirSync(join(folder, 'config', 'diskgraph'), { recursive: true })
    writeFileSync(join(folder, 'config', 'diskgraph', 'config.json'), '{')
    for (const words of [['--help'], ['--version'], ['info', '--help']]) {
      expect((await run(program, words)).code, words.join(' ')).toBe(0)
    }
    expect((await run(program, program === 'dg-io' ? ['-c', 'help'] : ['info', 'x'])).stderr).toContain('config.json')
  })
})

describe('options', () => {
  test.each(everyCommand)('of %s %s have each a name of its own', (_, __, program, command) => {
    const names = optionsOf(program, command).flatMap(({ short, long }) => [short, long].filter((one) => one))
    expect(new Set(names).size).toBe(names.length)
  })
})

describe('an example', () => {
  const examples = programs.flatMap(({ name, commands, examples: own = [] }) =>
    [...own, ...Object.values(commands).flatMap((command) => command.examples)].map(([line]) => [name, line] as const),
  )

  test.each(examples)('works: %s %s', async (program, line) => {
    writeFileSync('disk.raw', Buffer.alloc(2 ** 20 * 2, 7))
    for (const words of [
      'convert -q -O qcow2 disk.raw disk.qcow2',
      'create -q -f qcow2 base.qcow2 64M',
      'create -q -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2',
      'snapshot -c before disk.qcow2',
      ...(line.startsWith('resize --shrink') ? ['resize -q disk.qcow2 64M', 'snapshot -d before disk.qcow2'] : []),
      ...(/bitmap --(merge|remove)/.test(line)
        ? ['bitmap --add disk.qcow2 since-monday', 'bitmap --add disk.qcow2 all']
        : []),
    ]) {
      expect((await run('dg-img', words.split(' '))).stderr).toBe('')
    }
    const [own = ''] = line.split(/ (?:&&|\||>) /)
    const { code, stderr } = await run(program, splitWords(own))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})

/** Lines up to the word that is completed, and what is offered there. */
const completions: readonly (readonly [line: readonly string[], offered: readonly string[]])[] = [
  [['diskgraph', 'conv'], ['convert']],
  [['diskgraph', '--driver', './x', 'tre'], ['tree']],
  [
    ['diskgraph', 'convert', '-O', 'qc'],
    ['qcow', 'qcow2'],
  ],
  [['diskgraph', 'create', '-f', 'im'], ['img']],
  [
    ['diskgraph', 'completion', ''],
    ['bash', 'fish', 'zsh'],
  ],
  [['dg-img', 'info', '--backing'], ['--backing-chain']],
  [['dg-img', 'convert', '-t', 'writet'], ['writethrough']],
  [['dg-img', 'info', 'disk.q'], ['disk.qcow2']],
  [['dg-img', 'create', '-f', 'im'], []],
  [
    ['dg-io', '-c', 'writ'],
    ['write', 'writev'],
  ],
]

describe('completion', () => {
  const script = (shell: 'bash' | 'zsh' | 'fish'): string => {
    writeFileSync('disk.qcow2', '')
    writeFileSync(`script.${shell}`, completionScript(shell, programs, capturedTerminal('diskgraph')))
    return `script.${shell}`
  }

  const bash = (words: readonly string[]): string[] => {
    const lines = [
      `source ./${script('bash')}`,
      'compopt() { :; }',
      `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})`,
      `COMP_CWORD=${words.length - 1}`,
      '_diskgraph',
      `printf '%s\\n' "\${COMPREPLY[@]}"`,
    ]
    return execFileSync('bash', ['-c', lines.join('\n')], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
      .sort()
  }

  peer('bash', { describe, it }).describe('in bash', () => {
    test.each(completions)('%j', (words, offered) => expect(bash(words)).toEqual(offered))

    test('knows values behind =, where bash cuts words, and the keys of dd', () => {
      expect(bash(['dg-img', 'info', '--output', '=', 'j'])).toEqual(['json'])
      expect(bash(['dg-img', 'info', '--output', '='])).toEqual(['human', 'json'])
      expect(bash(['dg-img', 'dd', 'i'])).toEqual(['if='])
      expect(bash(['dg-img', 'dd', 'if', '=', 'd'])).toEqual(['disk.qcow2'])
    })
  })

  peer('fish', { describe, it }).describe('in fish', () => {
    test.each(completions)('%j', (words, offered) => {
      const line = `source ${script('fish')}; complete -C '${words.join(' ')}'`
      const found = execFileSync('fish', ['--no-config', '-c', line], {
        encoding: 'utf8',
        env: { ...process.env, HOME: folder },
      })
      const names = found.split('\n').map((one) => one.split('\t')[0] as string)
      expect(names.filter((name) => name !== '' && !/^script\./.test(name)).sort()).toEqual(offered)
    })
  })

  peer('zsh', { describe, it }).it('for zsh is a script that zsh reads, with every command', () => {
    const name = script('zsh')
    expect(spawnSync('zsh', ['-n', name], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
    const text = completionScript('zsh', programs, capturedTerminal('diskgraph'))
    for (const [, command] of everyCommand) expect(text).toContain(`            ${command})\n`)
  })

  test('needs the name of a shell', async () => {
    const { code, stderr } = await run('diskgraph', ['completion', 'csh'])
    expect(code).toBe(1)
    expect(stderr).toContain('Expecting one of bash, zsh, fish\n')
    expect(stderr).toContain("Try 'diskgraph completion --help'")
  })
})

describe('the manual page', () => {
  test.each(programs)('of $name has every command, option and example', (program) => {
    const page = manPage(program, programs)
    const shown = (text: string): string => text.replaceAll('-', '\\-')
    for (const [name, command] of Object.entries(program.commands)) {
      expect(page).toContain(`\n.SS ${name}\n`)
      for (const { long = '' } of Object.values(command.options)) expect(page).toContain(shown(long))
      for (const [line] of command.examples) expect(page).toContain(shown(line))
    }
    for (const { name } of program.typed ?? []) expect(page).toContain(name)
  })

  peer('mandoc', { describe, it }).it('has nothing that mandoc takes for an error', () => {
    for (const program of programs) {
      const input = manPage(program, programs)
      const { stdout } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning'], { input, encoding: 'utf8' })
      // The date would be that of the build, and no build would be like another.
      expect(stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date'))).toEqual([])
    }
  })
})
