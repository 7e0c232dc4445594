/** `npm run docs` writes the reference of all packages into docs/api. A warning, such as a broken link, fails it. */
export default {
  name: 'diskgraph',
  entryPoints: [
    'packages/core/src/index.ts',
    'packages/core/src/driver.ts',
    'packages/posix/src/index.ts',
    'packages/jobs/src/index.ts',
    'packages/sparse/src/index.ts',
    'packages/remote/src/index.ts',
    'packages/console/src/index.ts',
    'packages/nbd/src/index.ts',
    'packages/throttle/src/index.ts',
    'packages/devices/src/index.ts',
    'packages/qapi/src/index.ts',
    'packages/qmp/src/index.ts',
    'packages/qmp/src/client.ts',
    'packages/driver-*/src/index.ts',
  ],
  out: 'docs/api',
  readme: 'none',
  disableSources: true,
  excludeInternal: true,
  excludePrivate: true,
  treatWarningsAsErrors: true,
  validation: { notExported: true, invalidLink: true, notDocumented: true },
  requiredToBeDocumented: ['Class', 'Function', 'Interface', 'TypeAlias', 'Variable'],
  plugin: [nameModules],
}

/** Modules are called as they are imported: `@diskgraph/core/driver`. */
function nameModules(app) {
  app.converter.on('resolveBegin', ({ project }) => {
    for (const module of project.children ?? []) module.name = `@diskgraph/${module.name.replace('/src', '')}`
  })
}
