import { defineConfig } from 'tsup'

/** One configuration for every library package: `tsup --config ../../tsup.config.ts` in its folder. */
export default defineConfig({
  entry: ['src/index.ts'],
  format: ['esm'],
  target: 'node20',
  dts: true,
  clean: true,
  sourcemap: false,
  treeshake: true,
})
