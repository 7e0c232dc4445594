/** The suites that run in a dedicated worker; each result goes to the page. */
import { opfsSuite } from './opfs.ts'
import { runFile } from './vitest.ts'

await runFile('driver-opfs: in a worker', opfsSuite, async (result) => postMessage(result))
postMessage('finished')
