/** The program `dg-img`. Who asks for its version gets it before anything else is loaded. */
import { programName } from './program-name.ts'
import { versionLine } from './version.ts'

if (process.argv[2] === '--version' || process.argv[2] === '-V') {
  process.stdout.write(versionLine(programName(process.argv[1] ?? 'dg-img')))
} else {
  const { startImg } = await import('./tools.ts')
  await startImg()
}
