/** The page: looks at the block layer once a second and after events, and draws what it sees. */
import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Connection, type Json, type QmpEvent } from './connection.ts'
import { GraphView } from './graph-view.tsx'
import { type FinishedJob, finishedJob, JobsView, type Run } from './jobs-view.tsx'
import { NodeView } from './node-view.tsx'
import { querySystem, type System, totalsOf } from './system.ts'
import { longestHistory, type Sample, Throughput } from './throughput.tsx'
import { timeOf } from './units.ts'

const period = 1000
const longestLog = 200
const mostFinished = 5

/** The token of the address, which is taken out of it: it would stay in the browser's history. */
function takeToken(): string {
  const given = location.hash.slice(1)
  if (given !== '') {
    sessionStorage.setItem('token', given)
    history.replaceState(null, '', location.pathname)
  }
  return sessionStorage.getItem('token') ?? ''
}

/** What the page knows; `system` stays on the screen when the connection has ended. */
interface Seen {
  readonly connected: boolean
  readonly version: string
  readonly system: System | undefined
  readonly samples: readonly Sample[]
  readonly log: readonly string[]
  /** The latest first. */
  readonly finished: readonly FinishedJob[]
}

const nothing: Seen = { connected: false, version: '', system: undefined, samples: [], log: [], finished: [] }

function Console({ token }: { readonly token: string }) {
  const [seen, setSeen] = useState(nothing)
  const [chosen, choose] = useState<string>()
  const [failure, setFailure] = useState<string>()
  const connection = useRef<Connection | undefined>(undefined)
  const look = useRef<() => void>(() => undefined)

  useEffect(() => watch(token, { connection, look, setSeen }), [token])

  const run: Run = async (command, args) => {
    try {
      await connection.current?.execute(command, args)
      setFailure(undefined)
      return true
    } catch (error) {
      setFailure(`${command}: ${(error as Error).message}`)
      return false
    } finally {
      look.current()
    }
  }
  const { connected, version, system, samples, log, finished } = seen
  return (
    <>
      <header>
        <h1>diskgraph</h1>
        <span class={connected ? 'on' : 'off'}>
          {connected ? (system?.status ?? '') : 'not connected, trying again'}
        </span>
        <span class="small">{version}</span>
      </header>
      {failure === undefined ? null : (
        <p class="failure" role="alert">
          {failure}
          <button type="button" onClick={() => setFailure(undefined)}>
            close
          </button>
        </p>
      )}
      {system === undefined ? (
        <p class="empty">
          {token === '' ? 'Open the address that the daemon printed: it has a token.' : 'Connecting…'}
        </p>
      ) : (
        <main>
          <section class="wide">
            <h2>Graph</h2>
            <GraphView system={system} chosen={chosen} onChoose={choose} />
          </section>
          <section>
            <h2>Jobs</h2>
            <JobsView jobs={system.jobs} finished={finished} run={run} />
          </section>
          <section>
            <h2>Throughput</h2>
            <Throughput samples={samples} />
            <Users system={system} />
          </section>
          <section>
            <h2>Node</h2>
            {chosen === undefined ? (
              <p class="empty">Choose a node in the graph.</p>
            ) : (
              <NodeView key={chosen} system={system} name={chosen} run={run} onChoose={choose} />
            )}
          </section>
          <section>
            <h2>Events</h2>
            <ol class="log">
              {log.map((line, i) => (
                <li key={log.length - i}>{line}</li>
              ))}
            </ol>
          </section>
        </main>
      )}
    </>
  )
}

function Users({ system: { exports } }: { readonly system: System }) {
  if (exports.length === 0) return null
  return (
    <ul class="users">
      {exports.map((one) => (
        <li key={one.id}>
          <strong>{one.id}</strong> gives out {one['node-name']} by {one.type}
          {one['shutting-down'] ? ', ending' : ''}
        </li>
      ))}
    </ul>
  )
}

interface Watched {
  readonly connection: { current: Connection | undefined }
  readonly look: { current: () => void }
  readonly setSeen: (change: (before: Seen) => Seen) => void
}

/** Keeps a connection, and looks; the result ends that. */
function watch(token: string, { connection, look, setSeen }: Watched): () => void {
  let ended = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let attempts = 0
  let looking = false
  let again = false
  let before: { readonly at: number; readonly read: number; readonly written: number } | undefined

  const glance = async (): Promise<void> => {
    const current = connection.current
    if (current === undefined) return
    if (looking) {
      again = true
      return
    }
    looking = true
    again = false
    const system = await querySystem(current)
    looking = false
    const now = { at: performance.now(), ...totalsOf(system) }
    const sample = before === undefined || now.at - before.at < period / 2 ? undefined : sampleOf(before, now)
    if (before === undefined || sample !== undefined) before = now
    setSeen((seen) => ({ ...seen, system, samples: withSample(seen.samples, sample) }))
    if (again) void glance()
  }
  const tick = setInterval(() => void glance(), period)
  look.current = () => void glance()

  const connect = (): void => {
    if (ended || token === '') return
    const made = new Connection(token, {
      onOpen(version: Json) {
        attempts = 0
        connection.current = made
        before = undefined
        setSeen((seen) => ({ ...seen, connected: true, version: versionText(version) }))
        void glance()
      },
      onEvent(event: QmpEvent) {
        const job = finishedJob(event)
        setSeen((seen) => ({
          ...seen,
          log: [eventLine(event), ...seen.log].slice(0, longestLog),
          finished: job === undefined ? seen.finished : [job, ...seen.finished].slice(0, mostFinished),
        }))
        void glance()
      },
      onClose() {
        connection.current = undefined
        setSeen((seen) => ({ ...seen, connected: false }))
        timer = setTimeout(connect, Math.min(5000, 250 * 2 ** attempts++))
      },
    })
  }
  connect()
  return () => {
    ended = true
    clearTimeout(timer)
    clearInterval(tick)
    connection.current?.close()
  }
}

type Totals = { readonly at: number; readonly read: number; readonly written: number }

function sampleOf(before: Totals, now: Totals): Sample {
  const seconds = (now.at - before.at) / 1000
  // A device that went away took its counts along.
  const rateOf = (from: number, to: number): number => Math.max(0, (to - from) / seconds)
  return { read: rateOf(before.read, now.read), written: rateOf(before.written, now.written) }
}

function withSample(samples: readonly Sample[], sample: Sample | undefined): readonly Sample[] {
  return sample === undefined ? samples : [...samples, sample].slice(-longestHistory)
}

function versionText(version: Json): string {
  const { package: packaged, qemu } = version as { package?: string; qemu?: Record<string, number> }
  return [packaged, qemu && `QMP of ${qemu.major}.${qemu.minor}`].filter(Boolean).join(' · ')
}

function eventLine({ event, data, timestamp }: QmpEvent): string {
  return `${timeOf(timestamp)} ${event} ${data === undefined ? '' : JSON.stringify(data)}`
}

const place = document.getElementById('console')
if (place !== null) render(<Console token={takeToken()} />, place)
