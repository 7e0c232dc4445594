import { runIo } from './io/main.ts'
import { main } from './main.ts'

await main(runIo, false)
