import type { DriverDescriptor } from '@diskgraph/core/driver'
import { httpDriver } from './image.ts'
import { nodeTransport } from './node-transport.ts'
import { httpOptions, httpsOptions } from './options.ts'

export type { HttpOptions, HttpsOptions, RedirectRule } from './options.ts'

/** The driver `http`: a file on a server, read by ranges. Read-only. */
export const http: DriverDescriptor = httpDriver('http', httpOptions, nodeTransport)

/** The driver `https`: as {@link http}, over TLS with the server's certificate verified. */
export const https: DriverDescriptor = httpDriver('https', httpsOptions, nodeTransport)
