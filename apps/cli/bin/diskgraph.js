#!/usr/bin/env node
import '../dist/diskgraph.js'
