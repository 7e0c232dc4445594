/** The program `dg-nbd`. */
import { startNbd } from './tools.ts'

await startNbd()
