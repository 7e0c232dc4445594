/** The program `diskgraph`. */
import { startDiskgraph } from './tools.ts'

await startDiskgraph()
