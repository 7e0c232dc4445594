/**
 * The program of the worker that holds the access handles of a page. It is text, for a worker's file beside a package is
 * found by some bundlers only. Messages come as `{ call, name, … }` and are answered by `{ call, value }` or
 * `{ call, error: { name, message } }`; all but `open` are done in their order.
 */
export const workerSource = `
const handles = new Map()
let last = 0
const operations = {
  async open({ file, mode }) {
    const handle = await file.createSyncAccessHandle({ mode })
    handles.set(++last, handle)
    return { id: last, size: handle.getSize() }
  },
  read({ id, offset, length }) {
    const buf = new Uint8Array(length)
    return { buf, count: handles.get(id).read(buf, { at: offset }) }
  },
  write: ({ id, offset, bytes }) => ({ count: handles.get(id).write(bytes, { at: offset }) }),
  truncate: ({ id, size }) => void handles.get(id).truncate(size),
  flush: ({ id }) => void handles.get(id).flush(),
  close({ id }) {
    handles.get(id).close()
    handles.delete(id)
  },
}
onmessage = async ({ data: { call, name, ...given } }) => {
  try {
    const value = await operations[name](given)
    postMessage({ call, value }, value?.buf === undefined ? [] : [value.buf.buffer])
  } catch ({ name, message }) {
    postMessage({ call, error: { name, message } })
  }
}
`
