/** What a user can prove who it is with: an agent, and key files without a passphrase in their usual places. */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { AnyAuthMethod, utils as Utils } from 'ssh2'

const keyFiles = ['id_ed25519', 'id_ecdsa', 'id_rsa']

/** The ways to log in as `username`, in the order in which they are tried. */
export async function authMethods(username: string, { parseKey }: typeof Utils): Promise<AnyAuthMethod[]> {
  const methods: AnyAuthMethod[] = [{ type: 'none', username }]
  const agent = process.env.SSH_AUTH_SOCK
  if (agent) methods.push({ type: 'agent', username, agent })
  for (const name of keyFiles) {
    const text = await readFile(join(homedir(), '.ssh', name)).catch(() => undefined)
    if (text === undefined) continue
    const key = parseKey(text)
    if (!(key instanceof Error)) methods.push({ type: 'publickey', username, key: text })
  }
  return methods
}
