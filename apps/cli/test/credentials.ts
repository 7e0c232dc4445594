/** Certificates and keys for tests of TLS, made by openssl: files of the names that QEMU, libnbd and nbdkit look for. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Makes a folder `name` in `parent`: an authority, certificates of a server called localhost and of a client, a key. */
export function makeCredentials(parent: string, name: string): string {
  const folder = join(parent, name)
  mkdirSync(folder)
  const openssl = (...words: string[]): unknown => execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout']
  const authority = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-subj', `/CN=${name} authority`]
  openssl('req', '-x509', ...key, 'ca-key.pem', '-out', 'ca-cert.pem', '-days', '2', ...authority)
  for (const side of ['server', 'client']) {
    const usage = `extendedKeyUsage=${side}Auth\nkeyUsage=critical,digitalSignature,keyEncipherment\nbasicConstraints=CA:FALSE\n`
    writeFileSync(join(folder, 'usage'), `subjectAltName=DNS:localhost,IP:127.0.0.1\n${usage}`)
    openssl('req', ...key, `${side}-key.pem`, '-out', 'request', '-subj', `/O=diskgraph/CN=${side}`)
    const signer = ['-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-extfile', 'usage']
    openssl('x509', '-req', '-in', 'request', ...signer, '-days', '2', '-out', `${side}-cert.pem`)
  }
  writeFileSync(join(folder, 'keys.psk'), `qemu:${randomBytes(32).toString('hex')}\n`)
  return folder
}

/** A folder with the authority alone: a client that trusts the server and shows nothing. */
export function authorityOf(folder: string, target: string): string {
  mkdirSync(target)
  copyFileSync(join(folder, 'ca-cert.pem'), join(target, 'ca-cert.pem'))
  return target
}
