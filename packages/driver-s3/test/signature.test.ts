/** The signatures that Amazon S3's documentation computes, step by step, for its example keys. */
import { describe, expect, it } from 'vitest'
import { encode, signingHeaders } from '../src/signature.ts'

const signer = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  sessionToken: undefined,
  region: 'us-east-1',
}
const time = Date.UTC(2013, 4, 24)
const host = 'https://examplebucket.s3.amazonaws.com'

describe('the published example', () => {
  it.each([
    [
      'GET Object',
      '/test.txt',
      { range: 'bytes=0-9' },
      'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    ],
    ['GET Bucket Lifecycle', '/?lifecycle', {}, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
    ['List Objects', '/?max-keys=2&prefix=J', {}, '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
  ])('%s is signed as published', async (_, path, headers, signature) => {
    const made = await signingHeaders(signer, new URL(host + path), headers, time)
    expect(made.authorization).toContain(`Signature=${signature}`)
    expect(made['x-amz-date']).toBe('20130524T000000Z')
  })

  it('names its key, day, region and the headers that it covers', async () => {
    const url = new URL(`${host}/test.txt`)
    const made = await signingHeaders({ ...signer, sessionToken: 'token' }, url, { range: 'bytes=0-9' }, time)
    expect(made.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\/20130524\/us-east-1\/s3\/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token,Signature=[0-9a-f]{64}$/,
    )
    expect(made['x-amz-security-token']).toBe('token')
  })
})

it('encodes all but what a signature leaves as it is', () => {
  expect(encode("aZ09-._~ !'()*/+=ü")).toBe('aZ09-._~%20%21%27%28%29%2A%2F%2B%3D%C3%BC')
})
