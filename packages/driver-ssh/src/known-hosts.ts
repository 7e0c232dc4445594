/**
 * Keys of servers that a person has met before (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): one a line, names or a salted
 * hash of one in front. Certificates are left out.
 */
import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** A line that fits a server. */
interface KnownKey {
  readonly type: string
  /** The key in base64, as it stands there. */
  readonly key: string
  readonly revoked: boolean
}

/** Lines that are looked at, in all files together. */
const longestText = 2 ** 22

/** The keys that the user and the system know of a server. Files that are not there know none. */
export async function knownKeys(host: string, port: number): Promise<readonly KnownKey[]> {
  const name = port === 22 ? host : `[${host}]:${port}`
  const files = [join(homedir(), '.ssh', 'known_hosts'), '/etc/ssh/ssh_known_hosts']
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')))
  return texts.flatMap((text) => keysIn(text.slice(0, longestText), name.toLowerCase()))
}

/** The keys in the text of a file that are those of `name`. */
export function keysIn(text: string, name: string): readonly KnownKey[] {
  const found: KnownKey[] = []
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/)
    const mark = words[0]?.startsWith('@') ? words.shift() : undefined
    const [names, type, key] = words
    if (names === undefined || names.startsWith('#') || type === undefined || key === undefined) continue
    if (mark !== undefined && mark !== '@revoked') continue
    if (fits(names, name)) found.push({ type, key, revoked: mark !== undefined })
  }
  return found
}

function fits(names: string, name: string): boolean {
  let found = false
  for (const pattern of names.split(',')) {
    if (pattern.startsWith('!')) {
      if (matches(pattern.slice(1), name)) return false
    } else found ||= pattern.startsWith('|1|') ? isHashed(pattern, name) : matches(pattern, name)
  }
  return found
}

function isHashed(pattern: string, name: string): boolean {
  const [, , salt = '', hash] = pattern.split('|')
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash
}

/** `*` and `?` stand for any text and any letter. Linear in the name for each star. */
function matches(pattern: string, name: string): boolean {
  let at = 0
  let star = -1
  let resume = 0
  let i = 0
  const wanted = pattern.toLowerCase()
  while (i < name.length) {
    if (wanted[at] === '*') {
      star = at++
      resume = i
    } else if (wanted[at] === '?' || wanted[at] === name[i]) {
      at++
      i++
    } else if (star >= 0) {
      at = star + 1
      i = ++resume
    } else return false
  }
  while (wanted[at] === '*') at++
  return at === wanted.length
}
