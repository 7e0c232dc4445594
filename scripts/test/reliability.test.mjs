import { expect, it } from 'vitest'
import { differentialBar, summaryOf, verdictOf } from '../reliability/bars.ts'
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
  expect(subjects.map(({ format }) => format)).toEqual(expect.arrayContaining(['qcow2', 'raw']))
})
