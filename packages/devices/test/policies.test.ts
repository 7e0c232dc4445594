import { describe, expect, it } from 'vitest'
import { Bench, block, stateOf, valueAt } from './bench.ts'

const full = { event: 'write_aio', errno: 'ENOSPC', once: true }
const broken = { event: 'write_aio', errno: 'EIO', once: true }
const unreadable = { event: 'read_aio', errno: 'EIO', once: true }

describe('error policies', () => {
  it('report hands the error on and tells of it', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ rerror: 'report', werror: 'report' }, unreadable, broken)
      await expect(valueAt(device, 0)).rejects.toMatchObject({ code: 'EIO' })
      await expect(device.write(0, block(1))).rejects.toMatchObject({ code: 'EIO' })
      const data = { device: 'drive0', nodeName: 'top', action: 'report', reason: 'Input/output error' }
      expect(bench.named('BLOCK_IO_ERROR')).toEqual([
        { ...data, operation: 'read' },
        { ...data, operation: 'write' },
      ])
      expect(bench.named('STOP')).toEqual([])
    }))

  it('ignore lets the request succeed and tells of the error', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'ignore' }, broken)
      await device.write(0, block(1))
      expect(await valueAt(device, 0)).toBe(0)
      expect(bench.named('BLOCK_IO_ERROR')).toMatchObject([{ action: 'ignore', operation: 'write' }])
    }))

  it('stop holds the request and stops the guests; cont makes it anew', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      const { runState } = bench.devices
      const writing = device.write(0, block(1))
      expect(await stateOf(writing, bench)).toBe('waiting')
      expect(runState.status).toBe('io-error')
      expect(device.ioStatus).toBe('failed')
      expect(bench.events.map(({ event }) => event)).toEqual(['BLOCK_IO_ERROR', 'STOP'])
      expect(bench.named('BLOCK_IO_ERROR')).toMatchObject([{ action: 'stop', nospace: false }])
      runState.cont()
      await writing
      expect(bench.named('RESUME')).toHaveLength(1)
      expect(device.ioStatus).toBe('ok')
      expect(await valueAt(device, 0)).toBe(1)
    }))

  it('a request that fails again after cont stops the guests again', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken, broken)
      const writing = device.write(0, block(1))
      for (let i = 0; i < 2; i++) {
        expect(await stateOf(writing, bench)).toBe('waiting')
        bench.devices.runState.cont()
      }
      await writing
      expect(bench.named('STOP')).toHaveLength(2)
    }))

  it('enospc stops on a full storage and reports other errors', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'enospc' }, full, broken)
      const writing = device.write(0, block(1))
      expect(await stateOf(writing, bench)).toBe('waiting')
      expect(device.ioStatus).toBe('nospace')
      bench.devices.runState.cont()
      await expect(writing).rejects.toMatchObject({ code: 'EIO' })
      expect(bench.named('BLOCK_IO_ERROR')).toMatchObject([
        { action: 'stop', nospace: true, reason: 'No space left on device' },
        { action: 'report', nospace: false },
      ])
    }))

  it('auto reports reads and stops on a full storage', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({}, unreadable, full)
      await expect(valueAt(device, 0)).rejects.toMatchObject({ code: 'EIO' })
      expect(await stateOf(device.write(0, block(1)), bench)).toBe('waiting')
      bench.devices.runState.cont()
    }))

  it.each(['flush', 'discard'] as const)('errors of %s count as those of writes', (iotype) =>
    Bench.run(async (bench) => {
      const rule = { event: 'none', errno: 'EIO', iotype, once: true }
      const device = await bench.failing({ werror: 'ignore', rerror: 'stop' }, rule)
      await device.write(0, block(1))
      await (iotype === 'flush' ? device.flush() : device.discard(0, 65536))
      expect(bench.named('BLOCK_IO_ERROR')).toMatchObject([{ operation: 'write', action: 'ignore' }])
    }),
  )

  it('do not hold for what is asked wrongly', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ rerror: 'stop', werror: 'stop' })
      await expect(valueAt(device, 2 ** 20)).rejects.toMatchObject({ code: 'EIO' })
      await expect(device.write(-1, block(1))).rejects.toMatchObject({ code: 'EINVAL' })
      await expect(device.read(0, block(0), 0, AbortSignal.abort())).rejects.toMatchObject({ code: 'ECANCELED' })
      expect(bench.events).toEqual([])
    }))

  it('do not hold for what a monitor asks of the medium', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      await expect(device.medium?.write(0, block(1))).rejects.toMatchObject({ code: 'EIO' })
      expect(bench.events).toEqual([])
    }))

  it.each([
    [{ rerror: 'enospc' as const }, "'enospc' invalid read error action"],
    [{ werror: 'foo' as 'stop' }, "'foo' invalid write error action"],
  ])('%j is refused', (settings, message) =>
    Bench.run(async (bench) => {
      await expect(bench.devices.add(settings)).rejects.toThrow(message)
    }),
  )
})

describe('a stopped guest', () => {
  it('has its requests wait until it runs', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({})
      bench.devices.runState.stop()
      const writing = device.write(0, block(1))
      expect(await stateOf(writing, bench)).toBe('waiting')
      bench.devices.runState.cont()
      await writing
    }))

  it('loses nothing when its node is drained and replaced: the request is made anew on what stands there then', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      const writing = device.write(4096, block(7))
      expect(await stateOf(writing, bench)).toBe('waiting')
      await bench.graph.drained('top', async () => undefined)
      const next = await bench.node('next')
      await bench.graph.replace('top', next)
      expect(device.node?.name).toBe('next')
      bench.devices.runState.cont()
      await writing
      expect(await valueAt(device, 4096)).toBe(7)
    }))

  it('hears of the error when its device is closed, and of ENOMEDIUM for what was not begun', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      const writing = device.write(0, block(1))
      expect(await stateOf(writing, bench)).toBe('waiting')
      const reading = valueAt(device, 0)
      expect(await stateOf(reading, bench)).toBe('waiting')
      await device.close()
      await expect(writing).rejects.toMatchObject({ code: 'EIO' })
      await expect(reading).rejects.toMatchObject({ code: 'ENOMEDIUM' })
      await expect(device.flush()).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    }))

  it('goes on when somebody who hears of STOP lets it at once', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      bench.graph.onEvent(({ event }) => {
        if (event === 'STOP') bench.devices.runState.cont()
      })
      await device.write(0, block(1))
      expect(await valueAt(device, 0)).toBe(1)
    }))

  it('may give up a request that is held', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({ werror: 'stop' }, broken)
      const ending = new AbortController()
      const writing = device.write(0, block(1), 0, ending.signal)
      expect(await stateOf(writing, bench)).toBe('waiting')
      ending.abort()
      await expect(writing).rejects.toMatchObject({ code: 'ECANCELED' })
    }))

  it('raises STOP and RESUME once for each change', () =>
    Bench.run(async (bench) => {
      const { runState } = bench.devices
      runState.stop()
      runState.stop('io-error')
      expect(runState.status).toBe('paused')
      runState.cont()
      runState.cont()
      expect(bench.events.map(({ event }) => event)).toEqual(['STOP', 'RESUME'])
    }))
})
