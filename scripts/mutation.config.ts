import { defineConfig, mergeConfig } from 'vitest/config'
import workspace from '../vitest.config.ts'

/**
 * The tests that judge mutants: those of one package (the folder in MUTATION_PACKAGE), without its scenarios, which
 * are random and slow. A mutant often leaves a promise pending, so tests may take seconds, not minutes.
 */
export default mergeConfig(
  { ...workspace, test: { ...workspace.test, include: [] } },
  defineConfig({
    test: {
      include: [`${process.env.MUTATION_PACKAGE}/test/**/*.test.ts`],
      exclude: ['**/node_modules/**', '**/test/scenarios/**'],
      testTimeout: 4000,
      hookTimeout: 4000,
    },
  }),
)
