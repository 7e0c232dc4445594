/** The chosen node: what is known of it, and what can be started on it. */
import { useState } from 'preact/hooks'
import type { Run } from './jobs-view.tsx'
import type { NodeInfo, StatsInfo, System } from './system.ts'
import { size } from './units.ts'

interface NodeViewProps {
  readonly system: System
  readonly name: string
  readonly run: Run
  readonly onChoose: (name: string) => void
}

export function NodeView({ system, name, run, onChoose }: NodeViewProps) {
  const info = system.nodes.find((node) => node['node-name'] === name)
  if (info === undefined) {
    return <p class="empty">{name} is no node: choose one to see what it is, and to start a job on it.</p>
  }
  const stats = system.stats.find((row) => row['node-name'] === name)
  return (
    <>
      <Facts info={info} stats={stats} />
      {info.ro ? (
        <p class="empty">It is read-only: nothing can be written to it.</p>
      ) : (
        <SnapshotForm info={info} run={run} onChoose={onChoose} />
      )}
      <JobForm info={info} system={system} run={run} />
    </>
  )
}

function Facts({ info, stats }: { readonly info: NodeInfo; readonly stats: StatsInfo | undefined }) {
  const { drv, file, ro, image } = info
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['node', info['node-name']],
    ['driver', ro ? `${drv}, read-only` : drv],
    ['file', file],
    ['size', image && size(image['virtual-size'])],
    ['on disk', image?.['actual-size'] === undefined ? undefined : size(image['actual-size'])],
    // Figures are those of users, and go with them to another node.
    ['read by its users', stats && `${size(stats.stats.rd_bytes ?? 0)} in ${stats.stats.rd_operations ?? 0} requests`],
    [
      'written by its users',
      stats && `${size(stats.stats.wr_bytes ?? 0)} in ${stats.stats.wr_operations ?? 0} requests`,
    ],
  ]
  return (
    <dl>
      {facts.map(([term, value]) =>
        value === undefined ? null : (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  )
}

/** A file beside the node's own, with `word` and the time in its name. */
function neighbour({ file }: NodeInfo, word: string): string {
  const path = file.startsWith('json:') ? '/tmp/disk' : file.replace(/\.[a-z0-9]+$/i, '')
  return `${path}-${word}-${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}.qcow2`
}

interface SnapshotFormProps {
  readonly info: NodeInfo
  readonly run: Run
  /** Is told of the overlay: it is the one to go on with. */
  readonly onChoose: (name: string) => void
}

function SnapshotForm({ info, run, onChoose }: SnapshotFormProps) {
  const [file, setFile] = useState('')
  const name = info['node-name']
  const suggestion = neighbour(info, 'snapshot')
  return (
    <form
      onSubmit={async (event) => {
        event.preventDefault()
        const node = `snap-${Math.random().toString(36).slice(2, 8)}`
        const args = {
          'node-name': name,
          'snapshot-file': file || suggestion,
          'snapshot-node-name': node,
          format: 'qcow2',
        }
        if (await run('blockdev-snapshot-sync', args)) onChoose(node)
      }}
    >
      <h3>Take a snapshot</h3>
      <p class="small">Everything written from now on goes to a new overlay; {name} stays as it is.</p>
      <label>
        Overlay
        <input name="snapshot" value={file} placeholder={suggestion} onInput={(e) => setFile(e.currentTarget.value)} />
      </label>
      <button type="submit">Take snapshot</button>
    </form>
  )
}

interface Kind {
  readonly word: string
  readonly needsFile: boolean
  /** It writes into a chain, so that there must be one, with a node on top that is writable. */
  readonly needsBacking: boolean
  readonly what: string
}

const kinds: Readonly<Record<string, Kind>> = {
  'drive-backup': {
    word: 'backup',
    needsFile: true,
    needsBacking: false,
    what: 'a copy of this moment, while writes go on',
  },
  'drive-mirror': {
    word: 'mirror',
    needsFile: true,
    needsBacking: false,
    what: 'a copy that follows every write until it is completed',
  },
  'block-commit': {
    word: 'commit',
    needsFile: false,
    needsBacking: true,
    what: 'writes what this overlay holds into its backing file',
  },
  'block-stream': {
    word: 'stream',
    needsFile: false,
    needsBacking: true,
    what: 'takes everything of the backing file into this overlay',
  },
}

/** The commands that can work on a node. A node below another one has none: jobs start at the top. */
function commandsOf({ graph: { nodes, edges } }: System, { 'node-name': name, ro }: NodeInfo): string[] {
  const id = nodes.find((node) => node.type === 'block-driver' && node.name === name)?.id
  const isNode = (wanted: number): boolean => nodes.some((one) => one.id === wanted && one.type === 'block-driver')
  if (edges.some(({ parent, child }) => child === id && isNode(parent))) return []
  const backed = edges.some((edge) => edge.parent === id && edge.name === 'backing')
  return Object.entries(kinds).flatMap(([command, { needsBacking }]) =>
    needsBacking && (ro || !backed) ? [] : [command],
  )
}

interface JobFormProps {
  readonly info: NodeInfo
  readonly system: System
  readonly run: Run
}

function JobForm({ info, system, run }: JobFormProps) {
  const commands = commandsOf(system, info)
  const [wanted, setWanted] = useState('')
  const [file, setFile] = useState('')
  const [speed, setSpeed] = useState('')
  // What was chosen may have become impossible, say when the backing file went.
  const command = commands.includes(wanted) ? wanted : commands[0]
  const kind = command === undefined ? undefined : kinds[command]
  if (command === undefined || kind === undefined) {
    return <p class="empty">Another node stands on it: jobs start at the node on top.</p>
  }
  const { word, needsFile, what } = kind
  const suggestion = neighbour(info, word)
  const start = async (event: Event): Promise<void> => {
    event.preventDefault()
    const taken = new Set(system.jobs.map(({ id }) => id))
    let number = 1
    while (taken.has(`${word}${number}`)) number++
    const limit = speed === '' ? {} : { speed: Math.round(Number(speed) * 2 ** 20) }
    const target = needsFile ? { target: file || suggestion, format: 'qcow2', sync: 'full' } : {}
    if (await run(command, { 'job-id': `${word}${number}`, device: info['node-name'], ...target, ...limit }))
      setFile('')
  }
  return (
    <form onSubmit={start}>
      <h3>Start a job</h3>
      <label>
        Job
        <select name="job" value={command} onChange={(event) => setWanted(event.currentTarget.value)}>
          {commands.map((name) => (
            <option key={name} value={name}>
              {kinds[name]?.word}
            </option>
          ))}
        </select>
      </label>
      <p class="small">{what}</p>
      {needsFile ? (
        <label>
          Target
          <input name="target" value={file} placeholder={suggestion} onInput={(e) => setFile(e.currentTarget.value)} />
        </label>
      ) : null}
      <label>
        MiB per second
        <input
          name="speed"
          value={speed}
          type="number"
          min="0.001"
          step="any"
          placeholder="no limit"
          onInput={(event) => setSpeed(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Start</button>
    </form>
  )
}
