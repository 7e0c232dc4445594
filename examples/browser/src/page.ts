/** The page: forms around a {@link Session}. */
import { isBlockError, type Node } from '@diskgraph/core'
import { hexDump } from './hex-dump.ts'
import { Session } from './session.ts'

const byId = <E extends HTMLElement>(id: string) => document.getElementById(id) as E
const status = byId<HTMLParagraphElement>('status')
const progress = byId<HTMLProgressElement>('progress')
let session: Session | undefined
let shownFrom = 0

/** Does what a person has asked for, one thing at a time, and says how it went. */
function on(id: string, event: 'submit' | 'click', work: (form: FormData) => Promise<string>): void {
  byId(id).addEventListener(event, async (happened) => {
    happened.preventDefault()
    const form = new FormData(happened.target instanceof HTMLFormElement ? happened.target : undefined)
    await say(() => work(form))
  })
}

async function say(work: () => Promise<string>): Promise<void> {
  document.body.inert = true
  try {
    status.textContent = await work()
    status.className = ''
  } catch (error) {
    const hint = isBlockError(error) && error.hint !== undefined ? ` (${error.hint})` : ''
    status.textContent = `${error instanceof Error ? error.message : error}${hint}`
    status.className = 'failed'
  } finally {
    document.body.inert = false
    progress.hidden = true
  }
}

function showProgress({ done, total }: { done: number; total: number }): void {
  progress.hidden = false
  progress.max = total
  progress.value = done
}

async function show(): Promise<void> {
  byId('disk').hidden = session === undefined
  byId('open').hidden = session !== undefined
  if (session === undefined) return
  const layers: string[] = []
  for (let node: Node | undefined = session.disk.node; node !== undefined; node = node.backing?.node) {
    layers.push(`${node.driver.name}, ${node.size} bytes: ${node.children.get('file')?.node.filename ?? node.filename}`)
  }
  byId('layers').replaceChildren(
    ...layers.map((text) => Object.assign(document.createElement('li'), { textContent: text })),
  )
  const buf = new Uint8Array(Math.min(256, session.disk.size - shownFrom))
  await session.disk.read(shownFrom, buf)
  byId('bytes').textContent = hexDump(buf, shownFrom)
}

function offsetOf(form: FormData): number {
  const offset = Number(form.get('offset'))
  if (Number.isSafeInteger(offset) && offset >= 0 && offset < (session?.disk.size ?? 0)) return offset
  throw new Error(`'${form.get('offset')}' is no offset in this disk`)
}

on('open', 'submit', async (form) => {
  const file = form.get('file') as File
  const url = form.get('url') as string
  if (file.size === 0 && url === '') throw new Error('choose a file or give an address')
  session = file.size > 0 ? await Session.ofFile(file, showProgress) : await Session.ofUrl(url)
  await show()
  return 'Open. It is there after a reload, too.'
})

on('look', 'submit', async (form) => {
  shownFrom = offsetOf(form)
  await show()
  return ''
})

on('write', 'submit', async (form) => {
  const offset = offsetOf(form)
  const bytes = new TextEncoder().encode(form.get('text') as string)
  await session?.write(offset, bytes)
  await show()
  return `${bytes.length} bytes written to the overlay.`
})

on('download', 'click', async () => {
  const file = await session?.result(showProgress)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file as File)
  link.download = 'disk.qcow2'
  link.click()
  return `${file?.size} bytes.`
})

on('forget', 'click', async () => {
  await session?.forget()
  session = undefined
  shownFrom = 0
  await show()
  return 'Nothing is kept any more.'
})

await say(async () => {
  session = await Session.resume()
  await show()
  return session === undefined ? '' : 'This is the disk of your last visit.'
})
