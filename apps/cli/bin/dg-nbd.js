#!/usr/bin/env node
// Compression and file access run on a pool of threads. Its size is read once, before the first module is loaded.
process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, require('node:os').availableParallelism()))
require('../dist/start.cjs').start('nbd', (url) => import(url))
