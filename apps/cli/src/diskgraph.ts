import { main } from './main.ts'
import { runDiskgraph } from './people/main.ts'

await main(runDiskgraph, true)
