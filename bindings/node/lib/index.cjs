// Fanfare for Node. Loading it starts nothing.

'use strict';

const { FanfareError } = require('./errors.cjs');
const { Fanfare } = require('./fanfare.cjs');
const { FanfareEvent, Subscription } = require('./subscription.cjs');

module.exports = { Fanfare, FanfareError, FanfareEvent, Subscription };
