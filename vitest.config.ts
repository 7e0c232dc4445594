import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** Tests run against the sources, so that no build is needed before them. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^@diskgraph\/(.*)$/, replacement: fileURLToPath(new URL('./packages/$1/src/index.ts', import.meta.url)) },
    ],
  },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'apps/*/test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
