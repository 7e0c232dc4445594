import { defineConfig, mergeConfig } from 'vitest/config'
import workspace from '../vitest.config.ts'

/** Names of test files that were chosen, and are fast. */
const chosen = process.env.MUTATION_TESTS || undefined
const timeout = chosen === undefined ? 4000 : 2000

/**
 * The tests that judge mutants: those of one package (the folder in MUTATION_PACKAGE), without its scenarios, which
 * are random and slow, or those of them that are named in MUTATION_TESTS. A mutant often leaves a promise pending, so
 * tests may take seconds, not minutes.
 */
export default mergeConfig(
  { ...workspace, test: { ...workspace.test, include: [] } },
  defineConfig({
    test: {
      include: (chosen?.split(',') ?? ['**/*']).map((name) => `${process.env.MUTATION_PACKAGE}/test/${name}.test.ts`),
      exclude: ['**/node_modules/**', '**/test/scenarios/**'],
      testTimeout: timeout,
      hookTimeout: timeout,
    },
  }),
)
