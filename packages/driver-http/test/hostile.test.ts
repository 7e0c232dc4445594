/**
 * Servers that are broken, slow or malicious. Each behaviour meets a node that opens, and a node that is open; the
 * answer must be right bytes or the error below, within the timeout and a second.
 */
import type http from 'node:http'
import { type BlockError, Graph, isBlockError } from '@diskgraph/core'
import { http as driver } from '@diskgraph/driver-http'
import { describe, expect, it } from 'vitest'
import { type Behaviour, patternOf, rangeOf, TestServer } from './server.ts'

/** Seconds that a transfer may take, where it is meant to be used up, and elsewhere. */
const short = 1
const long = 8
const size = 1_000_000
const content = patternOf(size)

/** `ok`: right bytes. Otherwise an error code. */
type Outcome = 'ok' | BlockError['code']

interface Case {
  readonly name: string
  /** A new one for each test, for those that remember how often they were asked. */
  readonly make: () => Behaviour
  readonly open: Outcome
  /** Default: as `open`. */
  readonly read?: Outcome
  /** What the message says. */
  readonly says?: RegExp
}

/** The head of a good answer to `request`. */
function partHeaders(request: http.IncomingMessage, changes: http.OutgoingHttpHeaders = {}): http.OutgoingHttpHeaders {
  const { start, end } = boundsOf(request)
  const all = {
    etag: '"one"',
    'content-range': `bytes ${start}-${end - 1}/${size}`,
    'content-length': end - start,
    ...changes,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function boundsOf(request: http.IncomingMessage): { start: number; end: number } {
  const range = rangeOf(request) ?? { start: 0, end: size }
  return { start: range.start, end: Math.min(range.end, size) }
}

function bodyOf(request: http.IncomingMessage, server: TestServer): Uint8Array {
  const { start, end } = boundsOf(request)
  return server.content.subarray(start, end)
}

/** A good body under headers that differ from good ones. */
function part(changes: http.OutgoingHttpHeaders | ((request: http.IncomingMessage) => http.OutgoingHttpHeaders)) {
  return (): Behaviour => (request, response, server) => {
    const own = typeof changes === 'function' ? changes(request) : changes
    response.writeHead(206, partHeaders(request, own))
    response.end(bodyOf(request, server))
  }
}

/** Only a status, perhaps with headers. */
function status(code: number, headers: http.OutgoingHttpHeaders = {}) {
  return (): Behaviour => (_request, response) => {
    response.writeHead(code, { 'content-length': 0, ...headers }).end()
  }
}

/** Bytes past the server's HTTP. `close` ends the connection behind them. */
function raw(text: (request: http.IncomingMessage, server: TestServer) => string | Uint8Array, close = true) {
  return (): Behaviour => (request, _response, server) => {
    const { socket } = request
    if (close) socket.end(text(request, server))
    else socket.write(text(request, server))
  }
}

function rawPart(request: http.IncomingMessage, server: TestServer, lines: readonly string[], extra = ''): Uint8Array {
  const { start, end } = boundsOf(request)
  const head = ['HTTP/1.1 206 Partial Content', 'ETag: "one"', `Content-Range: bytes ${start}-${end - 1}/${size}`]
  return Buffer.concat([
    Buffer.from(`${[...head, ...lines].join('\r\n')}\r\n\r\n`),
    bodyOf(request, server),
    Buffer.from(extra),
  ])
}

/** Misbehaves the first time only. */
function once(make: () => Behaviour) {
  return (): Behaviour => {
    const behaviour = make()
    let asked = false
    return (request, response, server) => {
      if (asked) return true
      asked = true
      return behaviour(request, response, server)
    }
  }
}

const resetInBody: () => Behaviour = () => (request, response, server) => {
  response.writeHead(206, partHeaders(request))
  response.write(bodyOf(request, server).subarray(0, 100), () => request.socket.resetAndDestroy())
}

const resetAtOnce: () => Behaviour = () => (request) => {
  request.socket.resetAndDestroy()
}

const cases: readonly Case[] = [
  { name: 'knows no ranges', make: status(200, { 'content-length': size }), open: 'ENOTSUP', read: 'ESTALE' },
  {
    name: 'knows no ranges and sends the file',
    make: () => (_request, response, server) => {
      response.writeHead(200, { 'accept-ranges': 'none' }).end(server.content)
    },
    open: 'ENOTSUP',
    read: 'ESTALE',
  },
  { name: 'sends a part from elsewhere', make: part({ 'content-range': `bytes 7-65542/${size}` }), open: 'EIO' },
  {
    name: 'sends a shorter part than asked for',
    make: part((request) => ({
      'content-range': `bytes ${boundsOf(request).start}-${boundsOf(request).start}/${size}`,
    })),
    open: 'EIO',
  },
  { name: 'does not say which part it sends', make: part({ 'content-range': undefined }), open: 'EIO' },
  { name: 'has nonsense for a Content-Range', make: part({ 'content-range': 'bytes all/-1' }), open: 'EIO' },
  {
    name: 'does not tell the size',
    make: part((request) => ({ 'content-range': `bytes ${boundsOf(request).start}-${boundsOf(request).end - 1}/*` })),
    open: 'ENOTSUP',
    says: /Server didn't report file size\./,
  },
  {
    name: 'claims a size of 2^63',
    make: part((request) => ({
      'content-range': `bytes ${boundsOf(request).start}-${boundsOf(request).end - 1}/9223372036854775808`,
    })),
    open: 'EFBIG',
  },
  {
    name: 'sends several parts in one body',
    make: part({ 'content-type': 'multipart/byteranges; boundary=x', 'content-range': undefined }),
    open: 'EIO',
  },
  {
    name: 'always ends the body too early',
    make: () => (request, response, server) => {
      response.writeHead(206, partHeaders(request))
      response.write(bodyOf(request, server).subarray(0, 0), () => request.socket.end())
    },
    open: 'ECONNRESET',
  },
  {
    name: 'always ends a chunked body too early',
    make: () => (request, response) => {
      response.writeHead(206, partHeaders(request, { 'content-length': undefined })).end()
    },
    open: 'ECONNRESET',
  },
  {
    name: 'ends the body too early once',
    make: once(() => (request, response, server) => {
      response.writeHead(206, partHeaders(request))
      response.write(bodyOf(request, server).subarray(0, 100), () => request.socket.end())
    }),
    open: 'ok',
  },
  {
    name: 'sends more than asked for, chunked',
    make: () => (request, response, server) => {
      response.writeHead(206, partHeaders(request, { 'content-length': undefined }))
      response.write(bodyOf(request, server))
      response.end(new Uint8Array(100_000).fill(0xee))
    },
    open: 'ok',
  },
  {
    name: 'sends more than it announced',
    make: raw((request, server) => {
      const { start, end } = boundsOf(request)
      return rawPart(request, server, [`Content-Length: ${end - start}`], 'HTTP/1.1 206 surplus\r\n\r\n'.repeat(100))
    }),
    open: 'ok',
  },
  { name: 'never answers', make: () => () => undefined, open: 'ETIMEDOUT' },
  {
    name: 'stops in the middle of the headers',
    make: raw(() => 'HTTP/1.1 206 Partial Content\r\nContent-Ra', false),
    open: 'ETIMEDOUT',
  },
  {
    name: 'stops in the middle of the body',
    make: () => (request, response, server) => {
      response.writeHead(206, partHeaders(request))
      response.write(bodyOf(request, server).subarray(0, 100))
    },
    open: 'ETIMEDOUT',
  },
  {
    name: 'stops behind the body of an answer without length',
    make: () => (request, response, server) => {
      response.writeHead(206, partHeaders(request, { 'content-length': undefined }))
      response.write(bodyOf(request, server))
    },
    open: 'ok',
  },
  {
    name: 'sends a byte a second',
    make: () => (request, response, server) => {
      response.writeHead(206, partHeaders(request))
      const body = bodyOf(request, server)
      let at = 0
      const timer = setInterval(() => response.write(body.subarray(at, ++at)), 200)
      response.on('close', () => clearInterval(timer))
    },
    open: 'ETIMEDOUT',
  },
  {
    name: 'sends early hints for ever',
    make: () => (request) => {
      const timer = setInterval(() => request.socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 20)
      request.socket.on('close', () => clearInterval(timer))
    },
    open: 'ETIMEDOUT',
  },
  {
    name: 'always resets the connection in the body, without progress',
    make: () => (request, response) => {
      response.writeHead(206, partHeaders(request))
      response.flushHeaders()
      setTimeout(() => request.socket.resetAndDestroy(), 5)
    },
    open: 'ECONNRESET',
  },
  { name: 'resets the connection in the body once', make: once(resetInBody), open: 'ok' },
  { name: 'always resets the connection before it answers', make: resetAtOnce, open: 'ECONNRESET' },
  { name: 'resets the connection before it answers, once', make: once(resetAtOnce), open: 'ok' },
  { name: 'closes at once', make: () => (request) => void request.socket.end(), open: 'ECONNRESET' },
  { name: 'redirects in a circle', make: status(301, { location: '/disk.img' }), open: 'ELOOP' },
  { name: 'redirects to a file', make: status(301, { location: 'file:///etc/passwd' }), open: 'EACCES' },
  { name: 'redirects to gopher', make: status(302, { location: 'gopher://127.0.0.1/x' }), open: 'EACCES' },
  { name: 'redirects to data', make: status(307, { location: 'data:text/plain,hello' }), open: 'EACCES' },
  { name: 'redirects nowhere', make: status(301), open: 'EIO' },
  { name: 'redirects to nonsense', make: status(308, { location: 'http://[::' }), open: 'EIO' },
  { name: 'sends its chunks with the range', make: part({ 'content-length': undefined }), open: 'ok' },
  { name: 'sends the range compressed', make: part({ 'content-encoding': 'gzip' }), open: 'ENOTSUP' },
  {
    name: 'has another size at each request',
    make: () => {
      let grown = size
      return (request, response, server) => {
        const { start, end } = boundsOf(request)
        grown++
        response.writeHead(206, partHeaders(request, { 'content-range': `bytes ${start}-${end - 1}/${grown}` }))
        response.end(bodyOf(request, server))
      }
    },
    open: 'ok',
    read: 'ESTALE',
  },
  {
    name: 'has another ETag at each request',
    make: () => {
      let version = 0
      return (request, response, server) => {
        response.writeHead(206, partHeaders(request, { etag: `"${++version}"` }))
        response.end(bodyOf(request, server))
      }
    },
    open: 'ok',
    read: 'ESTALE',
  },
  {
    name: 'has another date of change at each request',
    make: () => {
      let seconds = 0
      return (request, response, server) => {
        const date = new Date(++seconds * 1000).toUTCString()
        response.writeHead(206, partHeaders(request, { etag: undefined, 'last-modified': date }))
        response.end(bodyOf(request, server))
      }
    },
    open: 'ok',
    read: 'ESTALE',
  },
  {
    name: 'has another file now, and honours If-Range',
    make: () => (_request, _response, server) => {
      if (server.seen.length > 1) server.etag = '"two"'
      return true
    },
    open: 'ok',
    read: 'ESTALE',
  },
  { name: 'says that the range is past the end', make: status(416), open: 'EIO', read: 'ESTALE' },
  {
    name: 'says that the file is empty now',
    make: status(416, { 'content-range': 'bytes */0' }),
    open: 'ok',
    read: 'ESTALE',
  },
  { name: 'says 412', make: status(412), open: 'ESTALE' },
  { name: 'says 401', make: status(401), open: 'EACCES', says: /The requested URL returned error: 401/ },
  { name: 'says 403', make: status(403), open: 'EACCES', says: /The requested URL returned error: 403/ },
  { name: 'says 404', make: status(404), open: 'ENOENT', says: /The requested URL returned error: 404/ },
  { name: 'says 500', make: status(500), open: 'EIO', says: /The requested URL returned error: 500/ },
  { name: 'says 204', make: status(204), open: 'EIO' },
  { name: 'says 304', make: status(304), open: 'EIO' },
  { name: 'says 999', make: status(999), open: 'EIO' },
  { name: 'says 503 once, to come back at once', make: once(status(503, { 'retry-after': '0' })), open: 'ok' },
  {
    name: 'says 502 once, to come back at a date',
    make: once(status(502, { 'retry-after': new Date(0).toUTCString() })),
    open: 'ok',
  },
  { name: 'says 504 once, to come back at no time', make: once(status(504, { 'retry-after': 'soon' })), open: 'ok' },
  { name: 'says 503, to come back in a minute', make: status(503, { 'retry-after': '60' }), open: 'EIO' },
  { name: 'always says 503', make: status(503), open: 'EIO', says: /The requested URL returned error: 503/ },
  {
    name: 'speaks HTTP/1.0',
    make: raw((request, server) => {
      const { start, end } = boundsOf(request)
      const head = `HTTP/1.0 206 Partial Content\r\nETag: "one"\r\nContent-Range: bytes ${start}-${end - 1}/${size}\r\n\r\n`
      return Buffer.concat([Buffer.from(head), bodyOf(request, server)])
    }),
    open: 'ok',
  },
  {
    name: 'speaks HTTP/0.9',
    make: raw((request, server) => bodyOf(request, server)),
    open: 'EIO',
  },
  { name: 'speaks something else', make: raw(() => 'SSH-2.0-OpenSSH_9.2p1\r\n'), open: 'EIO' },
  {
    name: 'sends headers of 20 KiB',
    make: part({ 'x-long': 'x'.repeat(20 * 1024) }),
    open: 'EIO',
    says: /longer than 16384/,
  },
  {
    name: 'sends headers without end',
    make: () => (request) => {
      request.socket.write('HTTP/1.1 206 Partial Content\r\n')
      const timer = setInterval(() => request.socket.write(`X-A: ${'x'.repeat(500)}\r\n`), 1)
      request.socket.on('close', () => clearInterval(timer))
    },
    open: 'EIO',
  },
  {
    name: 'claims a length of 2^63',
    make: raw((request, server) => rawPart(request, server, ['Content-Length: 9223372036854775808'])),
    open: 'EIO',
  },
  {
    name: 'claims a negative length',
    make: raw((request, server) => rawPart(request, server, ['Content-Length: -1'])),
    open: 'EIO',
  },
  {
    name: 'claims two lengths',
    make: raw((request, server) => rawPart(request, server, ['Content-Length: 5', 'Content-Length: 65536'])),
    open: 'EIO',
  },
  {
    name: 'claims a length and chunks',
    make: raw((request, server) => rawPart(request, server, ['Content-Length: 65536', 'Transfer-Encoding: chunked'])),
    open: 'EIO',
  },
  {
    name: 'sends chunks that are none',
    make: raw((request, server) => rawPart(request, server, ['Transfer-Encoding: chunked'])),
    open: 'ECONNRESET',
  },
]

function check(error: unknown, outcome: Outcome, says: RegExp | undefined): void {
  expect(isBlockError(error), String(error)).toBe(true)
  const { code, message } = error as BlockError
  expect(code, message).toBe(outcome)
  expect(message).toMatch(says ?? /./)
}

/** Runs `work`, which must not take longer than the timeout and a second. */
async function inTime<T>(timeout: number, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  try {
    return await work()
  } finally {
    expect(performance.now() - start).toBeLessThan((timeout + 1) * 1000)
  }
}

async function world(
  timeout = long,
): Promise<{ server: TestServer; graph: Graph; definition: Readonly<Record<string, unknown>> }> {
  const server = await TestServer.start({ content })
  const graph = new Graph({ drivers: [driver], onWarning: () => undefined })
  return { server, graph, definition: { driver: 'http', url: server.url, timeout, retries: 2 } }
}

describe('a server that', () => {
  for (const { name, make, open, read = open, says } of cases) {
    it.concurrent(`${name} gives ${open} at open`, async () => {
      const timeout = open === 'ETIMEDOUT' ? short : long
      const { server, graph, definition } = await world(timeout)
      try {
        server.behaviour = make()
        await inTime(timeout, async () => {
          const disk = await graph.addUnchecked(definition).catch((error: unknown) => check(error, open, says))
          if (disk === undefined) return
          expect(open).toBe('ok')
          const buf = new Uint8Array(Math.min(500, disk.size))
          await disk.read(0, buf)
          expect(buf).toEqual(server.content.subarray(0, buf.length))
        })
      } finally {
        await graph.close()
        await server.close()
      }
    })

    it.concurrent(`${name} gives ${read} on read, and never other bytes`, async () => {
      const timeout = read === 'ETIMEDOUT' ? short : long
      const { server, graph, definition } = await world(timeout)
      try {
        const disk = await graph.addUnchecked(definition)
        server.behaviour = make()
        const spots = [300_000, 600_000, 900_000]
        const outcomes = await inTime(timeout, () =>
          Promise.all(
            spots.map(async (offset) => {
              const buf = new Uint8Array(500)
              const failure = await disk.read(offset, buf).catch((error: unknown) => error)
              if (failure === undefined) expect(buf).toEqual(server.content.subarray(offset, offset + 500))
              return failure
            }),
          ),
        )
        const failures = outcomes.filter((failure) => failure !== undefined)
        if (read === 'ok') expect(failures).toEqual([])
        else expect(failures.length).toBeGreaterThan(0)
        for (const failure of failures) check(failure, read, says)
      } finally {
        await graph.close()
        await server.close()
      }
    })
  }

  it('knows no ranges is refused in the words of QEMU', async () => {
    const { server, graph, definition } = await world()
    server.behaviour = status(200, { 'content-length': size })()
    await expect(graph.addUnchecked(definition)).rejects.toThrow(
      `Could not open '${server.url}': Server does not support 'range' (byte ranges).`,
    )
    await server.close()
  })

  it('changes its file fails every read from then on, even of what was read before', async () => {
    const { server, graph, definition } = await world()
    const disk = await graph.addUnchecked({ ...definition, cacheSize: 0 })
    server.etag = '"two"'
    await expect(disk.read(500_000, new Uint8Array(10))).rejects.toMatchObject({ code: 'ESTALE' })
    server.etag = '"one"'
    await expect(disk.read(100_000, new Uint8Array(10))).rejects.toMatchObject({ code: 'ESTALE' })
    await graph.close()
    await server.close()
  })

  it('loses connections all the time is read to the end, a piece at a time', async () => {
    const { server, graph, definition } = await world()
    server.behaviour = (request, response) => {
      response.writeHead(206, partHeaders(request))
      const body = bodyOf(request, server)
      response.write(body.subarray(0, 60_000), () => setTimeout(() => request.socket.resetAndDestroy(), 2))
      if (body.length <= 60_000) response.end()
    }
    const disk = await graph.addUnchecked({ ...definition, timeout: 20 })
    const buf = new Uint8Array(size)
    await disk.read(0, buf)
    expect(Buffer.compare(buf, server.content)).toBe(0)
    await graph.close()
    await server.close()
  })
})
