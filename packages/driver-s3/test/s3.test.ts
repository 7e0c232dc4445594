/** The driver on s3rver, which checks each signature as S3 does; and what it asks for. */
import { inspect } from 'node:util'
import S3rver from '@20minutes/s3rver'
import { Graph, isBlockError } from '@diskgraph/core'
import { s3 } from '@diskgraph/driver-s3'
import { mustShowExample, TempFolder } from '@diskgraph/driver-testkit'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { patternOf, TestServer } from '../../driver-http/test/server.ts'

const content = patternOf(1_000_000)
/** Those of s3rver. */
const key = 'S3RVER'
const canary = 'canary-9d2e'

let folder: TempFolder
let server: S3rver
let endpoint: string
let graph: Graph
const variables = Object.keys(process.env).filter((name) => name.startsWith('AWS_'))

beforeAll(async () => {
  for (const name of variables) delete process.env[name]
  folder = await TempFolder.make()
  const buckets = [{ name: 'images' }, { name: 'images.example.org' }]
  const place = { address: '127.0.0.1', port: 0, directory: folder.path }
  server = new S3rver({ ...place, silent: true, configureBuckets: buckets })
  endpoint = `http://127.0.0.1:${(await server.run()).port}`
  for (const path of ['images/a%20folder/disk%2B1%28x%29.img', 'images/disk.img', 'images.example.org/disk.img']) {
    const answer = await fetch(`${endpoint}/${path}`, { method: 'PUT', body: Buffer.from(content) })
    expect(answer.status).toBe(200)
  }
})

afterAll(async () => {
  await server.close()
  await folder.remove()
})

beforeEach(() => {
  graph = new Graph({ drivers: [s3], secrets: { right: key, wrong: canary, token: `${canary}-token` } })
})

afterEach(async () => {
  await graph.close()
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
})

const signed = { accessKeyId: key, secretKeySecret: 'right' } as const

async function failureOf(definition: object): Promise<Error & { code: string; hint?: string }> {
  const adding = graph.addUnchecked({ driver: 's3', url: 's3://images/disk.img', ...definition })
  const failure = await adding.catch((error: unknown) => error)
  expect(isBlockError(failure), String(failure)).toBe(true)
  return failure as never
}

describe('an object', () => {
  it('is read as the README shows', async () => {
    await using graph = new Graph({ drivers: [s3], secrets: { key: 'S3RVER' } })
    const disk = await graph.add({
      driver: 's3',
      url: 's3://images/disk.img',
      endpoint,
      accessKeyId: 'S3RVER',
      secretKeySecret: 'key',
    })
    mustShowExample(import.meta.url)
    const whole = new Uint8Array(content.length)
    await disk.read(0, whole)
    expect(Buffer.compare(whole, content)).toBe(0)
  })

  it('may have a key that needs care, which stands in the URL as it is', async () => {
    const disk = await graph.add({ driver: 's3', url: 's3://images/a folder/disk+1(x).img', endpoint, ...signed })
    const buf = new Uint8Array(1000)
    await disk.read(700_000, buf)
    expect(buf).toEqual(content.subarray(700_000, 701_000))
  })

  it('is read with the keys and the endpoint of the environment', async () => {
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: key,
      AWS_SECRET_ACCESS_KEY: key,
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'eu-central-1',
    })
    const node = await graph.add({ driver: 's3', url: 's3://images/disk.img' })
    expect(node.filename).toBe('s3://images/disk.img')
    expect(node.size).toBe(content.length)
  })

  it('is refused to a wrong key, which no message shows', async () => {
    const failure = await failureOf({ endpoint, accessKeyId: key, secretKeySecret: 'wrong' })
    expect(failure).toMatchObject({ code: 'EACCES', hint: expect.stringContaining('clock') })
    expect(inspect(failure, { depth: 12 })).not.toContain(canary)
  })

  it('that is not there is not there', async () => {
    expect(await failureOf({ url: 's3://images/none', endpoint, ...signed })).toMatchObject({ code: 'ENOENT' })
  })

  it('has a name that says what it needs, but no secret', async () => {
    const disk = await graph.add({ driver: 's3', url: 's3://images/disk.img', endpoint, ...signed })
    expect(disk.filename).toBe(
      `json:{"url": "s3://images/disk.img", "driver": "s3", "endpoint": "${endpoint}", "access-key-id": "S3RVER", "secret-key-secret": "right"}`,
    )
  })
})

describe('a request', () => {
  let plain: TestServer

  beforeEach(async () => {
    plain = await TestServer.start()
  })

  afterEach(() => plain.close())

  it('is signed with its range, for its region, with the token of keys that expire', async () => {
    await graph.add({
      driver: 's3',
      url: 's3://images/disk.img',
      endpoint: plain.origin,
      region: 'eu-west-3',
      sessionTokenSecret: 'token',
      versionId: 'a/b',
      ...signed,
    })
    const [seen] = plain.seen
    expect(seen?.url).toBe('/images/disk.img?versionId=a%2Fb')
    expect(seen?.headers['x-amz-security-token']).toBe(`${canary}-token`)
    expect(seen?.headers.authorization).toContain('/eu-west-3/s3/aws4_request,SignedHeaders=host;range;x-amz-')
    expect(seen?.headers.authorization).not.toContain(canary)
  })

  it('is not signed without a key, nor when it is to be anonymous', async () => {
    await graph.add({ driver: 's3', url: 's3://images/disk.img', endpoint: plain.origin })
    process.env.AWS_ACCESS_KEY_ID = key
    process.env.AWS_SECRET_ACCESS_KEY = key
    await graph.add({ driver: 's3', url: 's3://images/disk.img', endpoint: plain.origin, anonymous: true })
    expect(plain.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  })

  it('names the bucket in the host where that is how the server wants it', async () => {
    const failure = await failureOf({ endpoint: 'http://invalid', pathStyle: false, connectTimeout: 1 })
    expect(failure.message).toContain('images.invalid')
  })

  it('goes to no other server, whatever a redirect says', async () => {
    await using other = await TestServer.start()
    plain.behaviour = (_, response) => void response.writeHead(307, { location: other.url, 'content-length': 0 }).end()
    expect(await failureOf({ endpoint: plain.origin, ...signed })).toMatchObject({ code: 'EACCES' })
    expect(other.seen).toEqual([])
  })
})

describe('options', () => {
  it.each([
    [{ url: 's3://images' }],
    [{ url: 's3://images/' }],
    [{ url: 's3:///key' }],
    [{ url: 'http://images/key' }],
    [{ url: 's3://images/a/../b' }],
    [{ url: 's3://user:canary-9d2e@images/key' }],
    [{ url: 's3://im ages/key' }],
    [{ endpoint: 'ftp://x' }],
    [{ endpoint: 'http://user:canary-9d2e@x' }],
    [{ endpoint: 'nonsense' }],
    [{ accessKeyId: 'A' }],
    [{ secretKeySecret: 'right' }],
    [{ sessionTokenSecret: 'token' }],
    [{ anonymous: true, ...signed }],
    [{ accessKeyId: 'two\r\nlines', secretKeySecret: 'right' }],
    [{ region: 'a b', ...signed }],
  ])('%j are refused before anything is sent', async (options) => {
    const failure = await failureOf({ endpoint: 'http://127.0.0.1:1', ...options })
    expect(failure).toMatchObject({ code: 'EINVAL' })
    expect(inspect(failure, { depth: 12 })).not.toContain(canary)
  })
})
