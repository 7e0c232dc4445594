import type { DriverDescriptor } from '@diskgraph/core/driver'
import { httpTransport } from '@diskgraph/remote'
import { httpDriver } from './image.ts'
import { httpOptions, httpsOptions } from './options.ts'

export type { HttpOptions, HttpsOptions } from './options.ts'

/** The driver `http`: a file on a server, read by ranges. Read-only. */
export const http: DriverDescriptor = httpDriver('http', httpOptions, httpTransport)

/** The driver `https`: as {@link http}, over TLS with the server's certificate verified. */
export const https: DriverDescriptor = httpDriver('https', httpsOptions, httpTransport)
