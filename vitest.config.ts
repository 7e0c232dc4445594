import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const packages = fileURLToPath(new URL('./packages/', import.meta.url))

/** Tests run against the sources, so that no build is needed before them. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^@diskgraph\/([^/]+)$/, replacement: `${packages}$1/src/index.ts` },
      { find: /^@diskgraph\/(core|qmp)\/(\w+)$/, replacement: `${packages}$1/src/$2.ts` },
    ],
  },
  test: {
    include: [
      'packages/*/test/**/*.test.ts',
      'apps/*/test/**/*.test.ts',
      'examples/test/*.test.ts',
      'scripts/test/**/*.test.mjs',
    ],
    // One core less than there are, but not one worker alone: many tests wait for other programs.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
