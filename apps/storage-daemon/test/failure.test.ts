import { expect, it } from 'vitest'
import { shownValue } from '../src/failure.ts'

it.each([
  ['secret,id=s,data=hunter2,foo=1', 'secret,id=s,data=…,foo=1'],
  ['secret,data=a,,b,,c,id=s', 'secret,data=…,id=s'],
  ['-object secret,id=s,data=hunter2', '-object secret,id=s,data=…'],
  ['{"qom-type":"secret","data": "a\\"b", "id":"s"}', '{"qom-type":"secret","data": "…", "id":"s"}'],
  ['{"data":"cut', '{"data":"…"'],
  ['driver=file,filename=data.img', 'driver=file,filename=data.img'],
])('messages show no data of secrets: %s', (value, shown) => expect(shownValue(value)).toBe(shown))
