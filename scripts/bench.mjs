/* `npm run bench`: sets the workspace up, then compares our tools with the real ones (see bench/). */
import { join } from 'node:path'
import { runInForeground, toolScript } from './processes.mjs'
import { setUp } from './setup.mjs'
import { root } from './workspace.mjs'

await setUp()
const entry = join(root, 'bench', 'src', 'index.ts')
process.exitCode = await runInForeground(process.execPath, [toolScript('tsx'), entry, ...process.argv.slice(2)])
