// What the library refuses. Names and numbers are the library's own; there is no list of them here.

'use strict';

/** A call that the library refused: `code` is its stable name, such as `invalid_topic`. */
class FanfareError extends Error {
  constructor(message, code, status = 0, errno = 0) {
    super(message);
    /** Stable name. */
    this.code = code;
    /** Number of the C ABI. */
    this.status = status;
    if (errno) this.errno = errno;
  }
}
FanfareError.prototype.name = 'FanfareError';

/** A misspelt option is an error, not silence. */
function refuseUnknown(options, known, where) {
  for (const name in options) {
    if (!known.has(name)) throw argument(`${where}: there is no option "${name}"; there are ${[...known].join(', ')}`);
  }
}

/** The error of an argument that is not of its kind. */
function argument(message) {
  const error = new TypeError(message);
  error.code = 'ERR_INVALID_ARG_TYPE';
  return error;
}

module.exports = { FanfareError, argument, refuseUnknown };
