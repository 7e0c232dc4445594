/**
 * Signature Version 4 of AWS for requests without a body: "Authenticating Requests: Using the Authorization Header" in the
 * API reference of Amazon S3. A key for one day, region and service is derived from the secret key; it signs a text that
 * names the request, its headers and its time. Nothing of the secret key is sent.
 */

/** Who signs. */
export interface Signer {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Belongs to keys that expire. */
  readonly sessionToken: string | undefined
  readonly region: string
}

/** SHA-256 of nothing: what a request without a body carries. */
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/**
 * The headers that sign a GET of `url` at `time` (milliseconds since the epoch): those of the signature and the ones that
 * it needs. `signed` are further headers, by lower-case names, that it covers.
 */
export async function signingHeaders(
  signer: Signer,
  url: URL,
  signed: Readonly<Record<string, string>>,
  time: number,
): Promise<Record<string, string>> {
  const { accessKeyId, secretAccessKey, sessionToken, region } = signer
  const stamp = new Date(time).toISOString().replace(/[-:]|\.\d+/g, '')
  const day = stamp.slice(0, 8)
  const added: Record<string, string> = { 'x-amz-content-sha256': emptyHash, 'x-amz-date': stamp }
  if (sessionToken !== undefined) added['x-amz-security-token'] = sessionToken
  const headers = Object.entries({ ...signed, ...added, host: url.host }).sort(byName)
  const names = headers.map(([name]) => name).join(';')
  const request = [
    'GET',
    url.pathname,
    [...url.searchParams]
      .map(([name, value]) => [encode(name), encode(value)] as const)
      .sort(byName)
      .map(([name, value]) => `${name}=${value}`)
      .join('&'),
    ...headers.map(([name, value]) => `${name}:${value.trim()}`),
    '',
    names,
    emptyHash,
  ].join('\n')
  const scope = `${day}/${region}/s3/aws4_request`
  const text = ['AWS4-HMAC-SHA256', stamp, scope, hex(await sha256(bytes(request)))].join('\n')
  let key = bytes(`AWS4${secretAccessKey}`)
  for (const part of [day, region, 's3', 'aws4_request']) key = await hmac(key, part)
  const signature = hex(await hmac(key, text))
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope},SignedHeaders=${names},Signature=${signature}`
  return { ...added, authorization }
}

/** As signatures want names and keys: everything but letters, digits and `-._~` in hexadecimal digits of UTF-8. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function byName([left]: readonly [string, string], [right]: readonly [string, string]): number {
  return left < right ? -1 : 1
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

async function sha256(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', data))
}

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const made = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', made, bytes(text)))
}

function hex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
