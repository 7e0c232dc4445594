/** Options of `s3` nodes: types, schema, the environment, and what is checked before anything is sent. */
import { BlockError, jsonFilename, type OpenContext, type OptionSchemas, withoutSecrets } from '@diskgraph/core/driver'
import {
  type Authorizer,
  checkProxy,
  checkReading,
  type Environment,
  environment,
  type HttpSettings,
  type ProxyOptions,
  proxyOptions,
  type ReadingOptions,
  readingOptions,
  secretText,
  type TlsOptions,
  tlsOptions,
} from '@diskgraph/remote'
import { encode, type Signer, signingHeaders } from './signature.ts'

/** Options of an `s3` node. What is left out comes from the environment, where that names it. */
export interface S3Options extends ProxyOptions, ReadingOptions, TlsOptions {
  /** `s3://BUCKET/KEY`; the key as it is, nothing in it is decoded. */
  url: string
  /** URL of the server. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or that of AWS for the region. */
  endpoint?: string
  /** Default: AWS_REGION, AWS_DEFAULT_REGION, or `us-east-1`. */
  region?: string
  /** The bucket stands in the path, not in the host name. Default: where there is an endpoint, or a dot in the bucket. */
  pathStyle?: boolean
  /** Id of the access key. Default: AWS_ACCESS_KEY_ID; without any the requests are not signed. */
  accessKeyId?: string
  /** Id of the secret that holds the secret access key. Default: AWS_SECRET_ACCESS_KEY, for the key of the environment. */
  secretKeySecret?: string
  /** Id of the secret that holds the session token. Default: AWS_SESSION_TOKEN, for the key of the environment. */
  sessionTokenSecret?: string
  /** Sign nothing, whatever the environment holds. Default false. */
  anonymous?: boolean
  /** Version of the object. Default: the one that is current when the node is opened. */
  versionId?: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    s3: { open: S3Options }
  }
}

/** Schema of {@link S3Options}. */
export const s3Options: OptionSchemas = {
  url: { type: 'string', required: true, strong: true, description: 's3://BUCKET/KEY; nothing in it is decoded' },
  endpoint: { type: 'string', strong: true, description: 'URL of the server, where it is not AWS' },
  region: { type: 'string', strong: true, description: 'Region that requests are signed for' },
  pathStyle: { type: 'boolean', strong: true, description: 'The bucket stands in the path, not in the host name' },
  accessKeyId: { type: 'string', strong: true, description: 'Id of the access key' },
  secretKeySecret: { type: 'string', strong: true, description: 'Id of the secret that holds the secret access key' },
  sessionTokenSecret: { type: 'string', strong: true, description: 'Id of the secret that holds the session token' },
  anonymous: { type: 'boolean', default: false, strong: true, description: 'Sign nothing' },
  versionId: { type: 'string', strong: true, description: 'Version of the object' },
  ...proxyOptions,
  ...readingOptions,
  ...tlsOptions,
}

/** The settings that options and environment come to. EINVAL for options that are wrong or do not go together. */
export function checkOptions(context: OpenContext): HttpSettings {
  const options = context.options as unknown as S3Options
  const variables = environment()
  const reading = checkReading(context)
  const region = options.region ?? (variables.AWS_REGION || variables.AWS_DEFAULT_REGION || 'us-east-1')
  const signer = signerOf(context, options, region, variables)
  const authorizer: Authorizer | undefined = signer && {
    headers: (url, { range }) =>
      signingHeaders(signer, url, range === undefined ? {} : { range }, context.clock.wallTime()),
  }
  return {
    ...reading,
    url: objectUrl(options, region, variables),
    authorizer,
    cookie: undefined,
    proxy: checkProxy(context),
    // A signature is for one server.
    redirect: 'same-origin',
    maxRedirects: 5,
    sslverify: options.sslverify ?? true,
    ca: options.ca,
    refusalHint:
      signer === undefined
        ? 'the request was not signed: give access-key-id and secret-key-secret, or set AWS_ACCESS_KEY_ID'
        : "are the key, the region and this machine's clock right? S3 refuses what it does not have, too, to those who may not list",
  }
}

function signerOf(
  context: OpenContext,
  options: S3Options,
  region: string,
  variables: Environment,
): Signer | undefined {
  const { accessKeyId, secretKeySecret, sessionTokenSecret, anonymous } = options
  const given = accessKeyId ?? secretKeySecret ?? sessionTokenSecret
  if (anonymous && given !== undefined)
    throw new BlockError('EINVAL', 'anonymous goes with no key: leave one of them out')
  if (anonymous) return undefined
  if (given !== undefined) {
    if (accessKeyId === undefined || secretKeySecret === undefined) {
      throw new BlockError('EINVAL', 'access-key-id and secret-key-secret are given together')
    }
    return checkSigner({
      accessKeyId,
      secretAccessKey: secretText(context, secretKeySecret) as string,
      sessionToken: secretText(context, sessionTokenSecret),
      region,
    })
  }
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = variables
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) return undefined
  const sessionToken = AWS_SESSION_TOKEN || undefined
  return checkSigner({ accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY, sessionToken, region })
}

/** What stands in headers is one word. */
function checkSigner(signer: Signer): Signer {
  const { accessKeyId, sessionToken, region } = signer
  for (const [what, text] of Object.entries({ 'access key id': accessKeyId, 'session token': sessionToken, region })) {
    if (text !== undefined && !/^[!-~]+$/.test(text)) {
      throw new BlockError('EINVAL', `the ${what} contains something else than letters, digits and signs`)
    }
  }
  return signer
}

function objectUrl(options: S3Options, region: string, variables: Environment): URL {
  const wrong = (why: string): BlockError => new BlockError('EINVAL', `'${withoutSecrets(options.url)}' ${why}`)
  const match = /^s3:\/\/([^/?#]*)\/(.+)$/s.exec(options.url)
  if (match === null) throw wrong('is not s3://BUCKET/KEY')
  const [, bucket = '', key = ''] = match
  if (!/^[A-Za-z0-9][\w.-]{1,254}$/.test(bucket)) throw wrong('has a bucket that cannot be one')
  const parts = key.split('/')
  if (parts.some((part) => part === '.' || part === '..'))
    throw wrong("has a key with a part '.' or '..': no URL can name it")
  const named = options.endpoint ?? (variables.AWS_ENDPOINT_URL_S3 || variables.AWS_ENDPOINT_URL || undefined)
  const url = endpointUrl(named ?? `https://s3.${region}.amazonaws.com`)
  const pathStyle = options.pathStyle ?? (named !== undefined || bucket.includes('.'))
  if (!pathStyle) url.host = `${bucket}.${url.host}`
  const path = [...(pathStyle ? [bucket] : []), ...parts].map(encode).join('/')
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${path}`
  if (options.versionId !== undefined) url.search = `?versionId=${encode(options.versionId)}`
  return url
}

function endpointUrl(text: string): URL {
  const wrong = (): BlockError =>
    new BlockError(
      'EINVAL',
      `the endpoint '${withoutSecrets(text)}' is not http(s)://HOST[:PORT], without user and query`,
    )
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw wrong()
  }
  const { protocol, username, password, search, hash } = url
  if ((protocol !== 'http:' && protocol !== 'https:') || username || password || search || hash) throw wrong()
  return url
}

/** The name of a node: its URL where nothing else says which object it is, else a `json:` name. */
export function formatFilename(options: Readonly<Record<string, unknown>>): string {
  const { url, sslverify, anonymous } = options
  const told: Record<string, unknown> = {}
  for (const name of [
    'endpoint',
    'region',
    'pathStyle',
    'accessKeyId',
    'secretKeySecret',
    'sessionTokenSecret',
    'versionId',
  ]) {
    if (options[name] !== undefined) told[name] = options[name]
  }
  if (anonymous === true || anonymous === 'on') told.anonymous = anonymous
  if (sslverify === false || sslverify === 'off') told.sslverify = sslverify
  return Object.keys(told).length === 0 ? String(url) : jsonFilename({ driver: 's3', url, ...told })
}
