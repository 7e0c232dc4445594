/** The program `dg-io`. */
import { startIo } from './tools.ts'

await startIo()
