/** The page: runs the suites of the packages and the tests that only a browser can have, and reports each test. */
import { runFile, type TestResult } from './vitest.ts'

/** What runs in a dedicated worker of the page. */
function runWorker(): Promise<void> {
  const worker = new Worker('/worker.js', { type: 'module' })
  return new Promise((resolve, reject) => {
    worker.onerror = ({ message }) => reject(new Error(message))
    worker.onmessage = async ({ data }: MessageEvent<TestResult | 'finished'>) => {
      if (data !== 'finished') return reportResult(data)
      worker.terminate()
      resolve()
    }
  })
}

declare global {
  /** Given by the program that drives the browser. */
  function reportResult(result: TestResult): Promise<void>
  /** Set when all is done. */
  var finished: boolean | undefined
}

const files: Readonly<Record<string, () => Promise<unknown>>> = {
  'core: graph': () => import('../../../core/test/graph.test.ts'),
  'core: options': () => import('../../../core/test/options.test.ts'),
  'core: requests': () => import('../../../core/test/requests.test.ts'),
  'driver-memory': () => import('../../../driver-memory/test/memory.test.ts'),
  'driver-memory: conformance': () => import('../../../driver-memory/test/conformance.test.ts'),
  'driver-null: conformance': () => import('../../../driver-null/test/conformance.test.ts'),
  'driver-raw': () => import('../../../driver-raw/test/raw.test.ts'),
  'driver-raw: conformance': () => import('../../../driver-raw/test/conformance.test.ts'),
  'driver-qcow2: conformance': () => import('../../../driver-qcow2/test/conformance.test.ts'),
  'driver-blob: conformance': () => import('../../../driver-blob/test/conformance.test.ts'),
  'driver-blob': () => import('./blob.ts'),
  'driver-http: conformance': () => import('./http-conformance.ts'),
  'driver-http': () => import('./http.ts'),
  'driver-opfs': () => import('../../../driver-opfs/test/opfs.test.ts'),
  'driver-opfs: by a worker of its own': async () => (await import('./opfs.ts')).opfsSuite(),
  'driver-opfs: without workers': async () => {
    Object.assign(globalThis, { Worker: undefined })
    await (await import('./opfs.ts')).opfsSuite()
  },
  jobs: () => import('./jobs.ts'),
  stacks: () => import('./stacks.ts'),
}

// First, for one of the suites takes the page's workers away.
await runWorker()
for (const [name, load] of Object.entries(files)) await runFile(name, load, reportResult)
globalThis.finished = true
