import fanfare from './index.cjs';

export const { Fanfare, FanfareError, FanfareEvent, Subscription } = fanfare;
export default fanfare;
