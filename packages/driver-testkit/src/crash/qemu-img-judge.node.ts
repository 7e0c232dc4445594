import { readFileSync } from 'node:fs'
import type { PagedFile } from '../paged-file.ts'
import { runTool, storeFile, type TempFolder } from '../tools.node.ts'
import type { CrashJudge, JudgedState } from './crash-test.ts'

/** How the real qemu-img judges images of a format. */
export interface QemuImgJudgeSettings {
  /** For `qemu-img -f`. */
  readonly format: string
  readonly folder: TempFolder
  /** Whether an image says of itself that it needs a repair: then it may be inconsistent until it is opened. */
  dirty?(image: PagedFile): boolean
  /** Does not convert and compare the content: for images that refer to files which are not there. */
  readonly checkOnly?: boolean
}

/**
 * A judge that asks the real qemu-img: `check` must find no more than leaks, and `convert` must show what the guest
 * may expect. An image that says it is dirty must be clean after our driver opened and closed it, and, in a second
 * copy, after `check -r all`.
 */
export function qemuImgJudge(settings: QemuImgJudgeSettings): CrashJudge {
  return async (judged) => {
    const image = judged.state.files.get('image')
    if (image === undefined) return undefined
    const path = settings.folder.file('state')
    storeFile(path, image)
    const status = await check(settings.format, path)
    if (!tolerable(status.status)) {
      if (settings.dirty?.(image) !== true) return `qemu-img check: status ${status.status}: ${status.text}`
      const fault = await judgeDirty(settings, judged, image)
      if (fault !== undefined) return fault
    }
    return settings.checkOnly ? undefined : judgeContent(settings, judged, path)
  }
}

async function judgeDirty(
  settings: QemuImgJudgeSettings,
  judged: JudgedState,
  image: PagedFile,
): Promise<string | undefined> {
  const { format, folder } = settings
  const ours = judged.recovered?.get('image')
  if (ours === undefined) return 'a dirty image could not be opened'
  storeFile(folder.file('recovered'), ours)
  const recovered = await check(format, folder.file('recovered'))
  if (!tolerable(recovered.status)) return `qemu-img check after our recovery: ${recovered.text}`
  const copy = folder.file('repaired')
  storeFile(copy, image)
  await runTool('qemu-img', ['check', '-q', '-f', format, '-r', 'all', copy])
  const repaired = await check(format, copy)
  return tolerable(repaired.status) ? undefined : `qemu-img check -r all does not help: ${repaired.text}`
}

async function judgeContent(
  settings: QemuImgJudgeSettings,
  judged: JudgedState,
  path: string,
): Promise<string | undefined> {
  const raw = settings.folder.file('raw')
  const result = await runTool('qemu-img', ['convert', '-t', 'unsafe', '-f', settings.format, '-O', 'raw', path, raw])
  if (result.status !== 0) return `qemu-img convert: ${result.stderr}`
  const fault = judged.faultOfContent(readFileSync(raw))
  return fault === undefined ? undefined : `as qemu-img reads it: ${fault}`
}

async function check(format: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  const { status, stdout, stderr } = await runTool('qemu-img', ['check', '-f', format, path])
  return { status, text: `${stdout}${stderr}`.split('\n').slice(0, 4).join('; ') }
}

/** No errors, leaks, or a format without a check. */
function tolerable(status: number): boolean {
  return status === 0 || status === 3 || status === 63
}
