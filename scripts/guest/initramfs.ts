/**
 * What a guest boots from: the kernel of a Debian package, and an archive of busybox, e2fsprogs, the kernel's modules and
 * `init.sh`. Nothing is installed here; what is missing is named.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { findTool, runTool } from '@diskgraph/driver-testkit'

/** The modules of a virtio disk with ext4; those that they need follow from them. */
const wantedModules = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4']

/** Files that a guest is made of. */
export interface GuestParts {
  readonly kernel: string
  /** The folder of the kernel's modules. */
  readonly modules: string
  readonly busybox: string
  readonly fileSystemTools: readonly string[]
}

/** Looks below `root` for a kernel and busybox, and on this machine for the programs; else a sentence for each that is missing. */
export function findParts(root: string): GuestParts | readonly string[] {
  const missing: string[] = []
  const need = (path: string | undefined, sentence: string): string => {
    if (path === undefined) missing.push(sentence)
    return path ?? ''
  }
  const boot = join(root, 'boot')
  const names = existsSync(boot) ? readdirSync(boot).filter((name) => name.startsWith('vmlinuz-')) : []
  const version = names.sort().at(-1)?.slice('vmlinuz-'.length)
  const parts = {
    kernel: need(version && join(boot, `vmlinuz-${version}`), `no kernel ${boot}/vmlinuz-*: linux-image-*-cloud-amd64`),
    modules: join(root, 'lib', 'modules', version ?? ''),
    busybox: need(
      [join(root, 'bin', 'busybox'), join(root, 'usr', 'bin', 'busybox')].find((path) => existsSync(path)),
      `no ${root}/bin/busybox: busybox-static`,
    ),
    fileSystemTools: ['mke2fs', 'e2fsck'].map((tool) => need(findTool(tool), `no ${tool} on PATH: e2fsprogs`)),
  }
  for (const tool of ['qemu-system-x86_64', 'qemu-img'])
    need(findTool(tool), `no ${tool} on PATH: qemu-system-x86, qemu-utils`)
  if (version !== undefined && !existsSync(parts.modules)) missing.push(`no modules of the kernel in ${parts.modules}`)
  return missing.length > 0 ? missing : parts
}

/** The archive, as the kernel unpacks it (cpio, "newc"). */
export async function makeInitramfs(parts: GuestParts): Promise<Uint8Array> {
  const archive = new Archive()
  for (const folder of ['bin', 'dev', 'modules', 'proc', 'sys', 'tmp']) archive.addFolder(folder)
  archive.addConsole()
  archive.addFile('init', readFileSync(new URL('init.sh', import.meta.url)))
  archive.addFile('bin/busybox', readFileSync(parts.busybox))
  for (const tool of parts.fileSystemTools) {
    archive.addFile(`e2fsprogs/${basename(tool)}`, readFileSync(tool))
    for (const library of await librariesOf(tool)) archive.addFile(library.slice(1), readFileSync(library))
  }
  const modules = modulesInOrder(parts.modules, wantedModules)
  for (const path of modules) archive.addFile(`modules/${basename(path)}`, readFileSync(path))
  archive.addFile('modules/order', Buffer.from(modules.map((path) => `${basename(path)}\n`).join('')))
  return archive.end()
}

/** The loader and the libraries of a program, as `ldd` tells them. */
async function librariesOf(program: string): Promise<string[]> {
  const { status, stdout, stderr } = await runTool('ldd', [program])
  if (status !== 0) throw new Error(`ldd ${program}: ${stderr}`)
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path as string)
}

/** The files of `names` and of all that they need, each behind what it needs; what is built into the kernel has none. */
function modulesInOrder(folder: string, names: readonly string[]): string[] {
  const files = new Map<string, string>()
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (/\.ko\.(xz|zst|gz)$/.test(entry))
      throw new Error(`${join(folder, entry)} is compressed: unpack the modules first`)
    if (entry.endsWith('.ko')) files.set(moduleName(entry), join(folder, entry))
  }
  const order = new Set<string>()
  const add = (name: string): void => {
    const path = files.get(name)
    if (path === undefined || order.has(path)) return
    const depends = /\0depends=([^\0]*)\0/.exec(readFileSync(path, 'latin1'))?.[1] ?? ''
    for (const needed of depends.split(',')) add(moduleName(needed))
    order.add(path)
  }
  for (const name of names) add(name)
  return [...order]
}

function moduleName(path: string): string {
  return basename(path, '.ko').replaceAll('-', '_')
}

/** An archive in the making: a header of hexadecimal numbers, the name and the content of each file. */
class Archive {
  readonly #pieces: Uint8Array[] = []
  readonly #names = new Set<string>()

  addFolder(name: string): void {
    const parent = name.lastIndexOf('/')
    if (parent > 0) this.addFolder(name.slice(0, parent))
    this.#add(name, 0o40755)
  }

  /** A file that may be run, and the folders that it stands in. */
  addFile(name: string, content: Uint8Array): void {
    if (name.includes('/')) this.addFolder(name.slice(0, name.lastIndexOf('/')))
    this.#add(name, 0o100755, content)
  }

  /** Without it the kernel starts `init` with no output. */
  addConsole(): void {
    this.#add('dev/console', 0o20600, new Uint8Array(), [5, 1])
  }

  end(): Uint8Array {
    this.#add('TRAILER!!!', 0)
    return Buffer.concat(this.#pieces)
  }

  #add(name: string, mode: number, content: Uint8Array = new Uint8Array(), device: readonly number[] = [0, 0]): void {
    if (this.#names.has(name)) return
    this.#names.add(name)
    const numbers = [this.#names.size, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length + 1, 0]
    const header = `070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}${name}\0`
    this.#pieces.push(padded(Buffer.from(header)), padded(content))
  }
}

/** `bytes` and zeroes up to a multiple of four. */
function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array(-bytes.length & 3)])
}
