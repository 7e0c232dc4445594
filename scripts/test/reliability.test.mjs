import { mutatedImage, randomSeed, useMutated } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { differentialBar, summaryOf, verdictOf } from '../reliability/bars.ts'
import { intactImages } from '../reliability/images.ts'
import { findSubjects } from '../reliability/subjects.ts'

it('counts a bar that did not run for want of a peer as skipped', async () => {
  const bar = await differentialBar({ subjects: [], seed: 1, peers: false, save: undefined }, 1)
  expect(verdictOf(bar)).toBe('skipped')
  expect(summaryOf(['passed', verdictOf(bar)])).toBe('1 bars passed, 0 missed, 1 skipped')
})

it('says that all bars passed only when each of them did', () => {
  expect(summaryOf(['passed', 'passed'])).toBe('all bars passed')
  expect(summaryOf(['passed', 'MISSED'])).toBe('1 bars passed, 1 missed, 0 skipped')
  expect(summaryOf([])).toBe('0 bars passed, 0 missed, 0 skipped')
})

it('finds the drivers that bring variants, by their files', async () => {
  const subjects = await findSubjects()
  expect(subjects.map(({ format }) => format)).toEqual(expect.arrayContaining(['qcow2', 'raw', 'vdi', 'dmg']))
})

const seed = Number(process.env.SEED ?? randomSeed())
const damaged = (await findSubjects()).filter(({ mutations }) => mutations !== undefined)

describe(`damaged images (seed ${seed})`, () => {
  it.each(damaged.map((subject) => [subject.format, subject]))(
    'of %s give no other errors than those of a driver',
    async (_, subject) => {
      const { driver, mutations } = subject
      const files = await intactImages(subject, false)
      const images = files.map((file) => ({ file, fields: mutations.fields(file.bytes()) }))
      const faults = []
      for (let index = 0; index < 20; index++) {
        const { file, what, random } = mutatedImage(seed, index, images)
        const use = await useMutated({ driver, ...mutations }, file, random)
        faults.push(...use.faults.map((text) => `case ${index}, ${what}: ${text}`))
      }
      expect(faults).toEqual([])
    },
  )
})
