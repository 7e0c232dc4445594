/** What a program without types may hand over. */
import { JobTable, startBackup, startCommit, startMirror, startStream } from '@diskgraph/jobs'
import { expect, it } from 'vitest'
import { stack } from '../stack.ts'

type Start = (jobs: never, options: never) => Promise<unknown>

const starts: Readonly<Record<string, Start>> = { startBackup, startCommit, startMirror, startStream }

it.each(Object.entries(starts))('%s refuses what it does not know, and starts nothing', async (name, start) => {
  const { graph, plain } = stack()
  await using _ = graph
  const disk = await plain('a', 65536)
  const jobs = new JobTable(graph)
  const options = { device: 'a', target: 'b', sync: 'full', onSourceError: undefined }
  const own = name === 'startMirror' || name === 'startBackup' ? options : { device: 'a' }
  const cases: readonly (readonly [unknown, unknown, string])[] = [
    [jobs, { ...own, sped: 1 }, `${name} has no option 'sped'`],
    [jobs, { ...own, device: disk }, `the option 'device' of ${name} is a node of the graph, or its name, not`],
    [jobs, { ...own, device: undefined }, `${name} needs the option 'device', a node of the graph, or its name`],
    [jobs, undefined, `${name} takes an object of options, not undefined`],
    [graph, own, `${name} takes a JobTable and options, not`],
    [undefined, own, `${name} takes a JobTable and options, not undefined`],
  ]
  for (const [table, given, message] of cases) {
    const error = await start(table as never, given as never).catch((reason) => reason)
    expect(error).toMatchObject({ code: 'EINVAL', message: expect.stringContaining(message) })
  }
  expect([...jobs]).toEqual([])
})
