import { runDiskgraph } from './src/people/main.ts'
import { main } from './src/main.ts'
process.argv[1]='/x/diskgraph'
await main(runDiskgraph, true)
